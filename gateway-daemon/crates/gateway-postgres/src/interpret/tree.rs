//! The parse tree in a form in which nothing can be overlooked.
//!
//! The parser's own tree has some 270 types. A walk written by hand over them misses a field
//! sooner or later, and what it misses is not judged. So the tree is copied, through the one thing
//! that all types share (they serialize), into nodes of one type that carry the name of their kind
//! and all of their fields. Whoever walks that sees everything.
use serde::Serialize;
use serde::ser::{self, SerializeSeq, SerializeStruct};
use std::fmt;

/// A value in the tree.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Nothing,
    Flag(bool),
    Number(i64),
    Text(String),
    Tree(Box<Tree>),
    List(Vec<Value>),
}

/// A node: `SelectStmt`, `FuncCall`, `RangeVar` and so on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tree {
    kind: &'static str,
    fields: Vec<(&'static str, Value)>,
}

static NOTHING: Value = Value::Nothing;

impl Tree {
    /// Copies any part of the parser's tree that is one node.
    pub(super) fn of<T: Serialize>(node: &T) -> Option<Tree> {
        match node.serialize(Copier) {
            Ok(Value::Tree(tree)) => Some(*tree),
            _ => None,
        }
    }

    /// The name of its type in the parser's tree.
    pub(super) fn kind(&self) -> &'static str {
        self.kind
    }

    /// A field by its name in the parser's tree, where every field of every type is present.
    pub(super) fn get(&self, field: &str) -> &Value {
        let found = self.fields.iter().find(|(name, _)| *name == field);
        debug_assert!(found.is_some(), "{} has no field {field}", self.kind);
        found.map_or(&NOTHING, |(_, value)| value)
    }

    /// All fields.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.fields.iter().map(|(name, value)| (*name, value))
    }

    /// The node in a field.
    pub(super) fn tree(&self, field: &str) -> Option<&Tree> {
        self.get(field).tree()
    }

    /// The text in a field; empty when there is none.
    pub(super) fn text(&self, field: &str) -> &str {
        self.get(field).text()
    }

    /// Is the flag in a field set?
    pub(super) fn flag(&self, field: &str) -> bool {
        matches!(self.get(field), Value::Flag(true))
    }

    /// The elements of the list in a field.
    pub(super) fn list(&self, field: &str) -> &[Value] {
        self.get(field).list()
    }

    /// The nodes in the list in a field.
    pub(super) fn trees(&self, field: &str) -> impl Iterator<Item = &Tree> {
        self.list(field).iter().filter_map(Value::tree)
    }

    /// The strings in the list in a field: the parts of a name.
    pub(super) fn strings(&self, field: &str) -> Vec<&str> {
        self.get(field).strings()
    }

    /// The value of an enumeration of the parser's tree.
    pub(super) fn choice<E: TryFrom<i32>>(&self, field: &str) -> Option<E> {
        match self.get(field) {
            Value::Number(number) => E::try_from(i32::try_from(*number).ok()?).ok(),
            _ => None,
        }
    }
}

impl Value {
    /// The node, if it is one.
    pub(super) fn tree(&self) -> Option<&Tree> {
        match self {
            Value::Tree(tree) => Some(tree),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> &str {
        match self {
            Value::Text(text) => text,
            _ => "",
        }
    }

    /// The elements, if it is a list or a `List` node.
    pub(super) fn list(&self) -> &[Value] {
        match self {
            Value::List(values) => values,
            Value::Tree(tree) if tree.kind == "List" => tree.list("items"),
            _ => &[],
        }
    }

    /// The text of a `String` node.
    pub(super) fn string(&self) -> Option<&str> {
        self.tree()
            .filter(|tree| tree.kind == "String")
            .map(|tree| tree.text("sval"))
    }

    /// The texts of the `String` nodes of a list. A lone `String` counts as a list of one.
    pub(super) fn strings(&self) -> Vec<&str> {
        match self.string() {
            Some(text) => vec![text],
            None => self.list().iter().filter_map(Value::string).collect(),
        }
    }
}

/// The parser's tree holds something that this copy does not know.
#[derive(Debug)]
pub(super) struct CopyError;

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the parse tree holds an unknown form of value")
    }
}

impl std::error::Error for CopyError {}

impl ser::Error for CopyError {
    fn custom<T: fmt::Display>(_: T) -> CopyError {
        CopyError
    }
}

/// The wrapper that every child has in the parser's tree, and that says nothing.
const WRAPPER: &str = "Node";

struct Copier;

struct ListCopier(Vec<Value>);

struct NodeCopier(Tree);

macro_rules! numbers {
    ($($method:ident: $type:ty),* $(,)?) => {$(
        fn $method(self, value: $type) -> Result<Value, CopyError> {
            i64::try_from(value).map(Value::Number).map_err(|_| CopyError)
        }
    )*};
}

impl ser::Serializer for Copier {
    type Ok = Value;
    type Error = CopyError;
    type SerializeSeq = ListCopier;
    type SerializeStruct = NodeCopier;
    type SerializeTuple = ser::Impossible<Value, CopyError>;
    type SerializeTupleStruct = ser::Impossible<Value, CopyError>;
    type SerializeTupleVariant = ser::Impossible<Value, CopyError>;
    type SerializeMap = ser::Impossible<Value, CopyError>;
    type SerializeStructVariant = ser::Impossible<Value, CopyError>;

    numbers! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
    }

    fn serialize_bool(self, value: bool) -> Result<Value, CopyError> {
        Ok(Value::Flag(value))
    }

    fn serialize_str(self, value: &str) -> Result<Value, CopyError> {
        Ok(Value::Text(value.to_owned()))
    }

    fn serialize_none(self) -> Result<Value, CopyError> {
        Ok(Value::Nothing)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, CopyError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<Value, CopyError> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Value, CopyError> {
        value.serialize(self)
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<ListCopier, CopyError> {
        Ok(ListCopier(Vec::with_capacity(length.unwrap_or(0))))
    }

    fn serialize_struct(self, kind: &'static str, fields: usize) -> Result<NodeCopier, CopyError> {
        Ok(NodeCopier(Tree {
            kind,
            fields: Vec::with_capacity(fields),
        }))
    }

    fn serialize_f32(self, _: f32) -> Result<Value, CopyError> {
        Err(CopyError)
    }

    fn serialize_f64(self, _: f64) -> Result<Value, CopyError> {
        Err(CopyError)
    }

    fn serialize_char(self, _: char) -> Result<Value, CopyError> {
        Err(CopyError)
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<Value, CopyError> {
        Err(CopyError)
    }

    fn serialize_unit(self) -> Result<Value, CopyError> {
        Err(CopyError)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, CopyError> {
        Err(CopyError)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
    ) -> Result<Value, CopyError> {
        Err(CopyError)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, CopyError> {
        Err(CopyError)
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, CopyError> {
        Err(CopyError)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, CopyError> {
        Err(CopyError)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, CopyError> {
        Err(CopyError)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, CopyError> {
        Err(CopyError)
    }
}

impl SerializeSeq for ListCopier {
    type Ok = Value;
    type Error = CopyError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CopyError> {
        self.0.push(value.serialize(Copier)?);
        Ok(())
    }

    fn end(self) -> Result<Value, CopyError> {
        Ok(Value::List(self.0))
    }
}

impl SerializeStruct for NodeCopier {
    type Ok = Value;
    type Error = CopyError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), CopyError> {
        self.0.fields.push((name, value.serialize(Copier)?));
        Ok(())
    }

    fn end(mut self) -> Result<Value, CopyError> {
        if self.0.kind == WRAPPER {
            return Ok(self
                .0
                .fields
                .pop()
                .map_or(Value::Nothing, |(_, value)| value));
        }
        Ok(Value::Tree(Box::new(self.0)))
    }
}
