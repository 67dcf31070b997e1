//! What is asked of the catalogue.
//!
//! Every table, function, type and operator is named with its schema, and nothing is asked for that only
//! some of the servers have that are served (PostgreSQL 12 and later).
use crate::interpret::flow::{EXTENSION_FUNCTIONS, WORDS};
use crate::mask::telling;

const COLUMNS: &str = "SELECT c.oid, n.nspname, c.relname, c.relkind, a.attnum, a.attname, \
    a.atttypid, a.attnotnull, a.attgenerated, \
    COALESCE(a.attnum OPERATOR(pg_catalog.=) ANY (i.indkey::pg_catalog.int2[]), false) \
    FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
    JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid \
    LEFT JOIN pg_catalog.pg_index i ON i.indrelid OPERATOR(pg_catalog.=) c.oid AND i.indisprimary \
    WHERE a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped \
    AND c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r','v','m','f','p','c','S']::pg_catalog.\"char\"[]) \
    AND (c.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid \
    OR c.relname OPERATOR(pg_catalog.=) ANY (ARRAY[TELLING]::pg_catalog.name[]) \
    OR c.relname OPERATOR(pg_catalog.~~) 'pg_stat%'::pg_catalog.text) \
    ORDER BY c.oid USING OPERATOR(pg_catalog.<), a.attnum USING OPERATOR(pg_catalog.<)";
/// Within a transaction that keeps to one snapshot the answers to all other questions are what was
/// there when it began.
const ISOLATION: &str = "SELECT pg_catalog.current_setting('transaction_isolation')";
/// What a range is over is what it has elements of, and a multirange is one over the range that it is
/// for, which it depends on (`RangeCreate`): older servers have no column that says so.
const TYPES: &str = "SELECT t.oid, t.typrelid, COALESCE( \
    (SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid OPERATOR(pg_catalog.=) t.oid), \
    (SELECT pg_catalog.min(d.refobjid) FROM pg_catalog.pg_depend d \
    WHERE t.typtype OPERATOR(pg_catalog.=) 'm'::pg_catalog.\"char\" \
    AND d.classid OPERATOR(pg_catalog.=) 1247::pg_catalog.oid \
    AND d.objid OPERATOR(pg_catalog.=) t.oid AND d.refclassid OPERATOR(pg_catalog.=) d.classid \
    AND d.deptype OPERATOR(pg_catalog.=) 'i'::pg_catalog.\"char\"), \
    t.typelem), t.typbasetype, t.typname \
    FROM pg_catalog.pg_type t WHERE t.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid";
const PARENTS: &str = "SELECT i.inhrelid, i.inhparent FROM pg_catalog.pg_inherits i";
/// The relations that run code when they are changed, and which others are changed with which: what a
/// view is of, and what a foreign key changes by itself. 0 stands for the catalogue.
const CODE: &str = "SELECT t.tgrelid, NULL::pg_catalog.oid FROM pg_catalog.pg_trigger t \
    WHERE NOT t.tgisinternal \
    UNION ALL SELECT r.ev_class, NULL::pg_catalog.oid FROM pg_catalog.pg_rewrite r \
    WHERE r.ev_type OPERATOR(pg_catalog.<>) '1'::pg_catalog.\"char\" \
    UNION ALL SELECT r.ev_class, d.refobjid FROM pg_catalog.pg_rewrite r \
    JOIN pg_catalog.pg_depend d ON d.objid OPERATOR(pg_catalog.=) r.oid \
    AND d.classid OPERATOR(pg_catalog.=) 2618::pg_catalog.oid \
    AND d.refclassid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid \
    WHERE r.ev_class OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid \
    UNION ALL SELECT k.confrelid, k.conrelid FROM pg_catalog.pg_constraint k \
    WHERE k.contype OPERATOR(pg_catalog.=) 'f'::pg_catalog.\"char\" \
    AND (k.confupdtype OPERATOR(pg_catalog.=) ANY (ARRAY['c','n','d']::pg_catalog.\"char\"[]) \
    OR k.confdeltype OPERATOR(pg_catalog.=) ANY (ARRAY['c','n','d']::pg_catalog.\"char\"[])) \
    UNION ALL SELECT 0::pg_catalog.oid, NULL::pg_catalog.oid FROM pg_catalog.pg_event_trigger e \
    WHERE e.evtenabled OPERATOR(pg_catalog.<>) 'D'::pg_catalog.\"char\"";
/// Functions that `(x).name` can call: those that one argument is enough for, and those that an
/// older server has by what is a word of the grammar by now. Of PostgreSQL's own an immutable one
/// returns nothing but what it is given.
const FUNCTIONS: &str = "SELECT DISTINCT p.proname, p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid \
    FROM pg_catalog.pg_proc p WHERE (p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid \
    OR p.provolatile OPERATOR(pg_catalog.<>) 'i'::pg_catalog.\"char\") \
    AND (p.pronargs OPERATOR(pg_catalog.>=) 1::pg_catalog.int2 \
    AND (p.pronargs OPERATOR(pg_catalog.-) p.pronargdefaults) OPERATOR(pg_catalog.<=) 1::pg_catalog.int2 \
    OR p.proname OPERATOR(pg_catalog.=) ANY (ARRAY[WORDS]::pg_catalog.name[]))";
/// The relations that came with the server: another version has others.
const OWN: &str = "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
    WHERE c.oid OPERATOR(pg_catalog.<) 16384::pg_catalog.oid \
    AND c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r','v']::pg_catalog.\"char\"[])";
const FOREIGN_KEYS: &str = "SELECT k.conrelid, k.conkey::pg_catalog.text, k.confrelid, \
    k.confkey::pg_catalog.text FROM pg_catalog.pg_constraint k \
    WHERE k.contype OPERATOR(pg_catalog.=) 'f'::pg_catalog.\"char\"";
/// The columns of a relation that the server looks at together when one of them is written: those of
/// a constraint, of an index with its expressions and its predicate, of the bounds of partitions, of
/// a computed column, of a policy for rows. 0 stands for all of them, where an expression takes the
/// whole row: no dependency says so (`find_expr_references_walker`), only the expression does. The
/// columns of a partition key depend on their own table (`StorePartitionKey`).
const TOGETHER: &str = "SELECT d.relation, pg_catalog.array_agg(d.number)::pg_catalog.text \
    FROM (SELECT d.classid, d.objid, d.refobjid, d.refobjsubid FROM pg_catalog.pg_depend d \
    WHERE d.refclassid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid \
    AND d.refobjsubid OPERATOR(pg_catalog.>) 0 \
    AND (d.classid OPERATOR(pg_catalog.=) ANY (ARRAY[2606, 2604, 3256]::pg_catalog.oid[]) \
    OR d.classid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid \
    AND EXISTS (SELECT 1 FROM pg_catalog.pg_index i \
    WHERE i.indexrelid OPERATOR(pg_catalog.=) d.objid)) \
    UNION ALL SELECT d.classid, d.objid, d.refobjid, d.objsubid FROM pg_catalog.pg_depend d \
    WHERE d.refclassid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid \
    AND d.classid OPERATOR(pg_catalog.=) d.refclassid AND d.objid OPERATOR(pg_catalog.=) d.refobjid \
    UNION ALL SELECT 1259::pg_catalog.oid, t.partrelid, t.partrelid, 0 \
    FROM pg_catalog.pg_partitioned_table t \
    WHERE t.partexprs::pg_catalog.text OPERATOR(pg_catalog.~~) WHOLE \
    UNION ALL SELECT 1259::pg_catalog.oid, i.indexrelid, i.indrelid, 0 FROM pg_catalog.pg_index i \
    WHERE pg_catalog.concat(i.indexprs, i.indpred) OPERATOR(pg_catalog.~~) WHOLE \
    UNION ALL SELECT 2606::pg_catalog.oid, k.oid, k.conrelid, 0 FROM pg_catalog.pg_constraint k \
    WHERE k.conbin::pg_catalog.text OPERATOR(pg_catalog.~~) WHOLE \
    UNION ALL SELECT 3256::pg_catalog.oid, p.oid, p.polrelid, 0 FROM pg_catalog.pg_policy p \
    WHERE pg_catalog.concat(p.polqual, p.polwithcheck) OPERATOR(pg_catalog.~~) WHOLE) \
    d (class, object, relation, number) \
    GROUP BY d.class, d.object, d.relation \
    HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 1::pg_catalog.int8 \
    OR pg_catalog.min(d.number) OPERATOR(pg_catalog.=) 0";
/// How an expression says that it takes a whole row (`outVar`).
const WHOLE: &str = "'%:varattno 0 %'::pg_catalog.text";
/// Functions and operators of somebody's own that something depends on: those of extensions that are
/// known to compute are left out, and so are the operators of all extensions.
const SOMEBODYS: &str = "d.refobjid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid \
    AND d.refclassid OPERATOR(pg_catalog.=) ANY (ARRAY[1255, 2617, 2616]::pg_catalog.oid[]) \
    AND NOT (EXISTS (SELECT 1 FROM pg_catalog.pg_depend e \
    WHERE e.classid OPERATOR(pg_catalog.=) d.refclassid AND e.objid OPERATOR(pg_catalog.=) d.refobjid \
    AND e.deptype OPERATOR(pg_catalog.=) 'e'::pg_catalog.\"char\") \
    AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_proc f \
    WHERE d.refclassid OPERATOR(pg_catalog.=) 1255::pg_catalog.oid \
    AND f.oid OPERATOR(pg_catalog.=) d.refobjid \
    AND f.proname OPERATOR(pg_catalog.<>) ALL (ARRAY[EXTENSIONS]::pg_catalog.name[])))";
/// What calls functions of somebody's own without naming them in a statement: relations, by expressions
/// (defaults, constraints, indexes, partition keys, policies for rows, statistics), and types, by what a
/// domain checks and how a range compares. Where such an expression has to do with a type, it calls
/// what that calls. A policy calls something where rows are only read, and so may a view in it. With the
/// expression of a column comes its number.
const CALLS: &str = "SELECT o.relation, o.type, \
    CASE WHEN d.refclassid OPERATOR(pg_catalog.=) 1247::pg_catalog.oid THEN d.refobjid \
    ELSE 0::pg_catalog.oid END, o.reads, o.number FROM ( \
    SELECT 2604::pg_catalog.oid, a.oid, a.adrelid, 0::pg_catalog.oid, false, a.adnum \
    FROM pg_catalog.pg_attrdef a \
    UNION ALL SELECT 2606::pg_catalog.oid, k.oid, k.conrelid, k.contypid, false, 0::pg_catalog.int2 \
    FROM pg_catalog.pg_constraint k \
    UNION ALL SELECT 1259::pg_catalog.oid, i.indexrelid, i.indrelid, 0::pg_catalog.oid, false, 0::pg_catalog.int2 \
    FROM pg_catalog.pg_index i \
    UNION ALL SELECT 1259::pg_catalog.oid, t.partrelid, t.partrelid, 0::pg_catalog.oid, false, 0::pg_catalog.int2 \
    FROM pg_catalog.pg_partitioned_table t \
    UNION ALL SELECT 3256::pg_catalog.oid, p.oid, p.polrelid, 0::pg_catalog.oid, true, 0::pg_catalog.int2 \
    FROM pg_catalog.pg_policy p \
    UNION ALL SELECT 3381::pg_catalog.oid, s.oid, s.stxrelid, 0::pg_catalog.oid, false, 0::pg_catalog.int2 \
    FROM pg_catalog.pg_statistic_ext s \
    UNION ALL SELECT 1247::pg_catalog.oid, t.oid, 0::pg_catalog.oid, t.oid, false, 0::pg_catalog.int2 \
    FROM pg_catalog.pg_type t \
    WHERE t.typtype OPERATOR(pg_catalog.=) ANY (ARRAY['d','r']::pg_catalog.\"char\"[])) \
    o (class, object, relation, type, reads, number) \
    JOIN pg_catalog.pg_depend d ON d.classid OPERATOR(pg_catalog.=) o.class \
    AND d.objid OPERATOR(pg_catalog.=) o.object \
    WHERE SOMEBODYS OR d.refclassid OPERATOR(pg_catalog.=) 1247::pg_catalog.oid \
    AND d.refobjid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid \
    OR o.reads AND d.refclassid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid \
    AND EXISTS (SELECT 1 FROM pg_catalog.pg_class v WHERE v.oid OPERATOR(pg_catalog.=) d.refobjid \
    AND v.relkind OPERATOR(pg_catalog.=) 'v'::pg_catalog.\"char\")";
/// To read a definition waits for whoever holds, or waits for, an exclusive lock on the view or on
/// what it reads: such a view is left out, and counts as one that cannot be read. So does one with a
/// cast that is somebody's function, which the definition does not name. Names are written with their
/// schemas only where the session's search path does not show what they stand for: with each definition
/// comes what somebody's own functions and operators in it are called.
const VIEWS: &str = "SELECT c.oid, CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite r \
    JOIN pg_catalog.pg_depend d ON d.objid OPERATOR(pg_catalog.=) r.oid \
    AND d.classid OPERATOR(pg_catalog.=) 2618::pg_catalog.oid \
    WHERE r.ev_class OPERATOR(pg_catalog.=) c.oid \
    AND (d.refclassid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid \
    AND d.refobjid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT l.relation FROM pg_catalog.pg_locks l \
    WHERE l.mode OPERATOR(pg_catalog.=) 'AccessExclusiveLock'::pg_catalog.text \
    AND l.relation IS NOT NULL \
    AND (l.pid IS NULL OR l.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()))) \
    OR SOMEBODYS AND d.refclassid OPERATOR(pg_catalog.=) 1255::pg_catalog.oid \
    AND EXISTS (SELECT 1 FROM pg_catalog.pg_cast k \
    WHERE k.castfunc OPERATOR(pg_catalog.=) d.refobjid))) \
    THEN NULL ELSE pg_catalog.pg_get_viewdef(c.oid) END, \
    (SELECT pg_catalog.string_agg(COALESCE(p.proname, o.oprname)::pg_catalog.text, \
    ' '::pg_catalog.text) FROM pg_catalog.pg_rewrite r \
    JOIN pg_catalog.pg_depend d ON d.objid OPERATOR(pg_catalog.=) r.oid \
    AND d.classid OPERATOR(pg_catalog.=) 2618::pg_catalog.oid AND SOMEBODYS \
    LEFT JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) d.refobjid \
    AND d.refclassid OPERATOR(pg_catalog.=) 1255::pg_catalog.oid \
    LEFT JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) d.refobjid \
    AND d.refclassid OPERATOR(pg_catalog.=) 2617::pg_catalog.oid \
    WHERE r.ev_class OPERATOR(pg_catalog.=) c.oid) FROM pg_catalog.pg_class c \
    WHERE c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['v','m']::pg_catalog.\"char\"[]) \
    AND c.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid";

pub(super) fn question(index: usize) -> String {
    match index {
        0 => COLUMNS.replace(
            "TELLING",
            &quoted(telling::NAMED.iter().map(|(name, _)| *name)),
        ),
        1 => TYPES.to_owned(),
        2 => PARENTS.to_owned(),
        3 => CODE.to_owned(),
        4 => FUNCTIONS.replace("WORDS", &quoted(WORDS.iter().copied())),
        5 => FOREIGN_KEYS.to_owned(),
        6 => ISOLATION.to_owned(),
        7 => OWN.to_owned(),
        8 => TOGETHER.replace("WHOLE", WHOLE),
        9 => with_somebodys(CALLS),
        _ => with_somebodys(VIEWS),
    }
}

fn with_somebodys(question: &str) -> String {
    let known = quoted(EXTENSION_FUNCTIONS.iter().copied());
    question.replace("SOMEBODYS", &SOMEBODYS.replace("EXTENSIONS", &known))
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("'{name}'")).collect();
    names.join(",")
}
