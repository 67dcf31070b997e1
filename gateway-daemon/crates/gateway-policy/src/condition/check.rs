//! Checks a parsed expression against the vocabulary, and prepares it: every path becomes one
//! name, every regular expression is compiled.
use super::facts::{PATTERN_PREFIX, Pattern};
use super::vocabulary::{Fields, STATEMENT, Type, UNSTABLE, VARIABLES};
use crate::diagnostic::quoted;
use crate::reader::{list, nearest};
use cel::IdedExpr;
use cel::common::ast::{
    CallExpr, ComprehensionExpr, Expr, ListExpr, LiteralValue, SelectExpr, operators,
};

/// How deep an expression may be nested; evaluating it takes stack for each level.
const DEPTH_MAX: usize = 32;
/// How many of `all`, `exists`, `exists_one`, `map` and `filter` an expression may have.
const LOOPS_MAX: usize = 4;
/// The memory that one regular expression may take when it is compiled, in bytes.
const PATTERN_SIZE_MAX: usize = 256 * 1024;

/// What is wrong with an expression.
#[derive(Debug)]
pub(super) struct Fault {
    /// The number of the node, whose place the parser knows.
    pub(super) id: u64,
    pub(super) message: String,
    pub(super) expected: String,
}

/// What the check found out.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) patterns: Vec<Pattern>,
    /// It looks at nothing that can change within a session and a shape.
    pub(super) unstable: bool,
    pub(super) asks_time: bool,
    pub(super) asks_host: bool,
}

/// Checks the expression and rewrites it in place.
pub(super) fn check(expr: &mut IdedExpr) -> Result<Checked, Fault> {
    /// No node has it: the expression as a whole.
    const WHOLE: u64 = 0;
    let mut checker = Checker::default();
    match checker.expr(expr)? {
        Type::Bool | Type::Dynamic => Ok(checker.checked),
        other => Err(fault(
            WHOLE,
            format!("the condition is {other}"),
            "something that is true or false",
        )),
    }
}

fn fault(id: u64, message: impl Into<String>, expected: impl Into<String>) -> Fault {
    Fault {
        id,
        message: message.into(),
        expected: expected.into(),
    }
}

#[derive(Default)]
struct Checker {
    checked: Checked,
    /// The variables of the loops that the node is in, innermost last.
    bound: Vec<(String, Type)>,
    depth: usize,
    loops: usize,
    /// The node is evaluated for each entry of a list.
    in_loop: bool,
}

impl Checker {
    fn expr(&mut self, expr: &mut IdedExpr) -> Result<Type, Fault> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(fault(
                expr.id,
                "the condition is nested too deeply",
                format!("at most {DEPTH_MAX} levels"),
            ));
        }
        let found = self.node(expr);
        self.depth -= 1;
        found
    }

    fn node(&mut self, node: &mut IdedExpr) -> Result<Type, Fault> {
        let id = node.id;
        if let Some((root, path, kind)) = self.path(node)? {
            self.note(root, &path)?;
            // What is wrong with it is shown where it begins.
            node.id = root;
            node.expr = Expr::Ident(path);
            return Ok(kind);
        }
        match &mut node.expr {
            Expr::Literal(literal) => literal_type(id, literal),
            Expr::Ident(name) => self.ident(id, name),
            Expr::Select(select) => self.select(id, select),
            Expr::List(items) => self.list(items),
            Expr::Call(call) if call.func_name == "matches" => {
                let replaced = self.pattern(id, call)?;
                node.expr = replaced;
                Ok(Type::Bool)
            }
            Expr::Call(call) => {
                let kind = self.call(id, call)?;
                constant(node)?;
                Ok(kind)
            }
            Expr::Comprehension(comprehension) => self.comprehension(id, comprehension),
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => Err(fault(
                id,
                "maps and messages cannot be made in a condition",
                "comparisons of what there is",
            )),
        }
    }

    /// What a whole path like `lineage.root.exe` means, when the node is one, and the number of
    /// the node that it begins with.
    fn path(&self, node: &IdedExpr) -> Result<Option<(u64, String, Type)>, Fault> {
        let mut segments = Vec::new();
        let mut at = node;
        let root = loop {
            match &at.expr {
                Expr::Ident(name) => break name,
                Expr::Select(select) if !select.test => {
                    segments.push((at.id, &select.field));
                    at = &select.operand;
                }
                _ => return Ok(None),
            }
        };
        if self.bound.iter().any(|(name, _)| name == root) {
            return Ok(None);
        }
        let Some((_, known)) = VARIABLES.iter().find(|(name, _)| name == root) else {
            return Err(unknown_variable(at.id, root));
        };
        let (mut path, mut kind) = (root.clone(), known.to_type());
        for (id, field) in segments.into_iter().rev() {
            let Type::Fields(fields) = kind else {
                // The rest is selected from what the path before it gives.
                return Ok(None);
            };
            kind = field_type(id, fields, field)?;
            path = format!("{path}.{field}");
        }
        match kind {
            Type::Fields(fields) => Err(no_value(at.id, &path, fields)),
            kind => Ok(Some((at.id, path, kind))),
        }
    }

    fn note(&mut self, id: u64, path: &str) -> Result<(), Fault> {
        if self.in_loop && path == STATEMENT {
            return Err(fault(
                id,
                "the statement is looked at again for each entry of a list",
                "`operation.statement` outside of all, exists, map and filter",
            ));
        }
        self.checked.unstable |= UNSTABLE.contains(&path);
        self.checked.asks_time |= path == "time";
        self.checked.asks_host |= path == "resource.host";
        self.checked.asks_host |= path == "resource.host";
        Ok(())
    }

    fn ident(&self, id: u64, name: &str) -> Result<Type, Fault> {
        let bound = self.bound.iter().rev().find(|(bound, _)| bound == name);
        match bound {
            Some((_, kind)) => Ok(kind.clone()),
            None => Err(unknown_variable(id, name)),
        }
    }

    fn select(&mut self, id: u64, select: &mut SelectExpr) -> Result<Type, Fault> {
        match self.expr(&mut select.operand)? {
            Type::Map if select.test => Ok(Type::Bool),
            Type::Map => Ok(Type::Dynamic),
            Type::Fields(fields) if !select.test => field_type(id, fields, &select.field),
            other => Err(fault(
                id,
                format!("{} of {other}", quoted(&select.field)),
                "a field of the operation's attributes, of a process or of a principal",
            )),
        }
    }

    fn list(&mut self, items: &mut ListExpr) -> Result<Type, Fault> {
        let mut common: Option<Type> = None;
        for item in &mut items.elements {
            let kind = self.expr(item)?;
            common = Some(match common {
                None => kind,
                Some(common) if common == kind => kind,
                Some(_) => Type::Dynamic,
            });
        }
        Ok(Type::List(Box::new(common.unwrap_or(Type::Dynamic))))
    }

    /// `text.matches("pattern")`
    fn pattern(&mut self, id: u64, call: &mut CallExpr) -> Result<Expr, Fault> {
        let mut arguments = std::mem::take(&mut call.args);
        let mut subject = match (call.target.take(), arguments.len()) {
            (Some(target), 1) => *target,
            (None, 2) => arguments.remove(0),
            _ => {
                return Err(fault(
                    id,
                    "`matches` takes one pattern",
                    "text.matches(\"…\")",
                ));
            }
        };
        let kind = self.expr(&mut subject)?;
        wanted(subject.id, "matches", &kind, &[Type::String])?;
        let Some(mut place) = arguments.pop() else {
            return Err(fault(
                id,
                "`matches` takes one pattern",
                "text.matches(\"…\")",
            ));
        };
        let Expr::Literal(LiteralValue::String(text)) = &place.expr else {
            let message = "the pattern of `matches` is not written out";
            return Err(fault(place.id, message, "a text like \"^a.*\""));
        };
        let compiled = regex::RegexBuilder::new(text.inner())
            .size_limit(PATTERN_SIZE_MAX)
            .dfa_size_limit(PATTERN_SIZE_MAX)
            .build();
        let compiled = compiled.map_err(|error| {
            let message = error.to_string();
            let reason = message.lines().last().unwrap_or_default();
            let message = format!("the pattern cannot be used: {reason}");
            fault(place.id, message, "a regular expression (RE2)")
        })?;
        let number = self.checked.patterns.len();
        self.checked.patterns.push(Pattern(compiled));
        place.expr = Expr::Ident(format!("{PATTERN_PREFIX}{number}"));
        Ok(Expr::Call(CallExpr {
            func_name: operators::IN.into(),
            target: None,
            args: vec![subject, place],
        }))
    }

    fn call(&mut self, id: u64, call: &mut CallExpr) -> Result<Type, Fault> {
        let name = call.func_name.clone();
        let mut kinds = Vec::new();
        let target = call.target.as_deref_mut();
        let member = target.is_some();
        for argument in target.into_iter().chain(&mut call.args) {
            let kind = self.expr(argument)?;
            kinds.push((argument.id, kind));
        }
        match (member, kinds.as_slice()) {
            (false, [(at, condition), (_, yes), (_, no)]) if name == operators::CONDITIONAL => {
                wanted(*at, "?:", condition, &[Type::Bool])?;
                Ok(if yes == no {
                    yes.clone()
                } else {
                    Type::Dynamic
                })
            }
            (false, [left, right]) if sign(&name).is_some() => binary(id, &name, left, right),
            (false, [(at, operand)]) if name == operators::LOGICAL_NOT => {
                wanted(*at, "!", operand, &[Type::Bool])?;
                Ok(Type::Bool)
            }
            (false, [(at, operand)]) if name == operators::NEGATE => {
                wanted(*at, "-", operand, &[Type::Int, Type::Double])?;
                Ok(operand.clone())
            }
            // How the parser writes the loops of `all` and `exists`.
            (false, [_]) if name == operators::NOT_STRICTLY_FALSE => Ok(Type::Bool),
            (false, kinds) => global(id, &name, kinds),
            (true, kinds) => method(id, &name, kinds),
        }
    }

    fn comprehension(&mut self, id: u64, of: &mut ComprehensionExpr) -> Result<Type, Fault> {
        if self.in_loop {
            return Err(fault(
                id,
                "a loop inside a loop",
                "all, exists, exists_one, map and filter beside each other only",
            ));
        }
        self.loops += 1;
        if self.loops > LOOPS_MAX || of.iter_var2.is_some() {
            let message = format!("more than {LOOPS_MAX} loops in one condition");
            return Err(fault(id, message, format!("at most {LOOPS_MAX}")));
        }
        if VARIABLES.iter().any(|(name, _)| *name == of.iter_var) {
            let message = format!("`{}` is a variable already", of.iter_var);
            return Err(fault(id, message, "another name for the entries"));
        }
        let range = of.iter_range.id;
        let item = match self.expr(&mut of.iter_range)? {
            Type::List(item) => *item,
            Type::Map => Type::String,
            other => return Err(fault(range, format!("a loop over {other}"), "a list")),
        };
        let start = self.expr(&mut of.accu_init)?;
        let depth = self.bound.len();
        self.bound.push((of.iter_var.clone(), item));
        self.bound.push((of.accu_var.clone(), start.clone()));
        self.in_loop = true;
        self.expr(&mut of.loop_cond)?;
        let step_id = of.loop_step.id;
        let step = self.expr(&mut of.loop_step)?;
        self.in_loop = false;
        if matches!(start, Type::Bool) {
            wanted(step_id, "the loop", &step, &[Type::Bool])?;
        }
        if let Some((_, accumulated)) = self.bound.last_mut() {
            *accumulated = step;
        }
        let result = self.expr(&mut of.result)?;
        self.bound.truncate(depth);
        Ok(result)
    }
}

/// What is written out can be tried at once: `timestamp("soon")`, `1 / 0`, a time zone.
fn constant(node: &IdedExpr) -> Result<(), Fault> {
    let Expr::Call(call) = &node.expr else {
        return Ok(());
    };
    let literal = |expr: &IdedExpr| matches!(expr.expr, Expr::Literal(_));
    if !call.args.iter().all(literal) || call.args.is_empty() {
        return Ok(());
    }
    let tried = match call.target.as_deref() {
        None => super::resolve_constant(node),
        Some(target) if literal(target) => super::resolve_constant(node),
        Some(_) if call.func_name.starts_with("get") => {
            let mut call = call.clone();
            call.target = Some(Box::new(IdedExpr {
                id: node.id,
                expr: Expr::Call(CallExpr {
                    func_name: "timestamp".into(),
                    target: None,
                    args: vec![IdedExpr {
                        id: node.id,
                        expr: Expr::Literal(LiteralValue::Int(0.into())),
                    }],
                }),
            }));
            super::resolve_constant(&IdedExpr {
                id: node.id,
                expr: Expr::Call(call),
            })
        }
        Some(_) => Ok(()),
    };
    tried.map_err(|reason| fault(node.id, format!("this always fails: {reason}"), "a value"))
}

fn unknown_variable(id: u64, name: &str) -> Fault {
    let names: Vec<&str> = VARIABLES.iter().map(|(name, _)| *name).collect();
    let expected = match nearest(name, &names) {
        Some(near) => format!("`{near}`, perhaps"),
        None => format!("one of {}", list(&names, '`')),
    };
    fault(
        id,
        format!("there is no variable {}", quoted(name)),
        expected,
    )
}

fn field_type(id: u64, fields: &'static Fields, field: &str) -> Result<Type, Fault> {
    let found = fields.get(field).map(super::vocabulary::Known::to_type);
    found.ok_or_else(|| {
        let names = fields.names();
        let expected = match nearest(field, &names) {
            Some(near) => format!("`{near}`, perhaps"),
            None => format!("one of {}", list(&names, '`')),
        };
        let message = format!("`{}` has no field {}", fields.name, quoted(field));
        fault(id, message, expected)
    })
}

fn no_value(id: u64, path: &str, fields: &Fields) -> Fault {
    let names = fields.names();
    let expected = format!("one of its fields: {}", list(&names, '`'));
    fault(id, format!("`{path}` is not a value by itself"), expected)
}

fn literal_type(id: u64, literal: &LiteralValue) -> Result<Type, Fault> {
    Ok(match literal {
        LiteralValue::Boolean(_) => Type::Bool,
        LiteralValue::Int(_) => Type::Int,
        LiteralValue::UInt(_) => Type::UInt,
        LiteralValue::Double(_) => Type::Double,
        LiteralValue::String(_) => Type::String,
        LiteralValue::Bytes(_) | LiteralValue::Null => {
            let message = "nothing that a condition can look at is null or bytes";
            return Err(fault(id, message, "a text, a number, true or false"));
        }
    })
}

/// The type must be one of these, or not be known yet.
fn wanted(id: u64, of: &str, kind: &Type, types: &[Type]) -> Result<(), Fault> {
    if *kind == Type::Dynamic || types.contains(kind) {
        return Ok(());
    }
    let types: Vec<String> = types.iter().map(ToString::to_string).collect();
    Err(fault(id, format!("`{of}` on {kind}"), types.join(" or ")))
}

/// How people write an operator with two sides.
fn sign(name: &str) -> Option<&'static str> {
    Some(match name {
        operators::LOGICAL_AND => "&&",
        operators::LOGICAL_OR => "||",
        operators::EQUALS => "==",
        operators::NOT_EQUALS => "!=",
        operators::LESS => "<",
        operators::LESS_EQUALS => "<=",
        operators::GREATER => ">",
        operators::GREATER_EQUALS => ">=",
        operators::ADD => "+",
        operators::SUBSTRACT => "-",
        operators::MULTIPLY => "*",
        operators::DIVIDE => "/",
        operators::MODULO => "%",
        operators::IN => "in",
        operators::INDEX => "[]",
        _ => return None,
    })
}

fn binary(id: u64, name: &str, left: &(u64, Type), right: &(u64, Type)) -> Result<Type, Fault> {
    use Type::{Bool, Double, Duration, Dynamic, Int, List, Map, String, Timestamp, UInt};
    let sign = sign(name).unwrap_or(name);
    let ((left_id, left), (right_id, right)) = (left, right);
    let open = *left == Dynamic || *right == Dynamic;
    let found = match (name, left, right) {
        (operators::LOGICAL_AND | operators::LOGICAL_OR, ..) => {
            wanted(*left_id, sign, left, &[Bool])?;
            wanted(*right_id, sign, right, &[Bool])?;
            Some(Bool)
        }
        (operators::EQUALS | operators::NOT_EQUALS, ..) => left.comparable(right).then_some(Bool),
        (
            operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS,
            ..,
        ) => {
            let ordered = |kind: &Type| matches!(kind, String | Timestamp | Duration);
            let numbers = left.is_number() && right.is_number();
            (open || numbers || (left == right && ordered(left))).then_some(Bool)
        }
        (operators::IN, kind, List(item)) => item.comparable(kind).then_some(Bool),
        (operators::IN, String | Dynamic, Map) => Some(Bool),
        (operators::INDEX, List(item), Int | UInt | Dynamic) => Some((**item).clone()),
        (operators::INDEX, Map, String) => Some(Dynamic),
        (operators::IN | operators::INDEX, ..) => None,
        // What `map` and `filter` collect; there is no other way to make a list longer.
        (operators::ADD, List(before), List(more)) if **before == Dynamic => {
            Some(List(more.clone()))
        }
        (operators::ADD, String, String) => Some(String),
        (operators::ADD, Timestamp, Duration) | (operators::ADD, Duration, Timestamp) => {
            Some(Timestamp)
        }
        (operators::SUBSTRACT, Timestamp, Duration) => Some(Timestamp),
        (operators::SUBSTRACT, Timestamp, Timestamp) => Some(Duration),
        (operators::ADD | operators::SUBSTRACT, Duration, Duration) => Some(Duration),
        (operators::MODULO, Double, _) => None,
        (_, left, right) if left == right && left.is_number() => Some(left.clone()),
        _ => open.then_some(Dynamic),
    };
    found.ok_or_else(|| {
        let message = format!("`{sign}` between {left} and {right}");
        fault(id, message, "two sides that fit together")
    })
}

fn global(id: u64, name: &str, kinds: &[(u64, Type)]) -> Result<Type, Fault> {
    use Type::{Bool, Double, Duration, Int, String, Timestamp, UInt};
    let (types, result): (&[Type], Type) = match (name, kinds) {
        ("size", [(at, kind)]) => return size(*at, kind),
        ("int", [_]) => (&[Int, UInt, Double, String, Timestamp], Int),
        ("uint", [_]) => (&[Int, UInt, Double, String], UInt),
        ("double", [_]) => (&[Int, UInt, Double, String], Double),
        ("string", [_]) => (
            &[Bool, Int, UInt, Double, String, Timestamp, Duration],
            String,
        ),
        ("bool", [_]) => (&[Bool, String], Bool),
        ("timestamp", [_]) => (&[String, Timestamp], Timestamp),
        ("duration", [_]) => (&[String, Duration], Duration),
        _ => return Err(unknown_function(id, name, kinds.len())),
    };
    for (at, kind) in kinds {
        wanted(*at, name, kind, types)?;
    }
    Ok(result)
}

fn method(id: u64, name: &str, kinds: &[(u64, Type)]) -> Result<Type, Fault> {
    const OF_TIMES: [&str; 4] = ["getHours", "getMinutes", "getSeconds", "getMilliseconds"];
    const OF_DATES: [&str; 6] = [
        "getFullYear",
        "getMonth",
        "getDate",
        "getDayOfMonth",
        "getDayOfWeek",
        "getDayOfYear",
    ];
    match (name, kinds) {
        ("size", [(at, kind)]) => size(*at, kind),
        ("contains" | "startsWith" | "endsWith", [(at, kind), (with_at, with)]) => {
            wanted(*at, name, kind, &[Type::String])?;
            wanted(*with_at, name, with, &[Type::String])?;
            Ok(Type::Bool)
        }
        (name, [(at, kind)]) if OF_TIMES.contains(&name) => {
            wanted(*at, name, kind, &[Type::Timestamp, Type::Duration])?;
            Ok(Type::Int)
        }
        (name, [(at, kind), rest @ ..])
            if rest.len() <= 1 && (OF_TIMES.contains(&name) || OF_DATES.contains(&name)) =>
        {
            wanted(*at, name, kind, &[Type::Timestamp])?;
            for (at, zone) in rest {
                wanted(*at, name, zone, &[Type::String])?;
            }
            Ok(Type::Int)
        }
        _ => Err(unknown_function(id, name, kinds.len().saturating_sub(1))),
    }
}

fn size(at: u64, kind: &Type) -> Result<Type, Fault> {
    if !matches!(kind, Type::List(_) | Type::Map) {
        wanted(at, "size", kind, &[Type::String])?;
    }
    Ok(Type::Int)
}

fn unknown_function(id: u64, name: &str, arguments: usize) -> Fault {
    let message = format!(
        "there is no function {} of {arguments} arguments",
        quoted(name)
    );
    let expected = "size, contains, startsWith, endsWith, matches, int, uint, double, string, \
                    bool, timestamp, duration, getHours and the like, all, exists, exists_one, \
                    map, filter or has";
    fault(id, message, expected)
}
