//! The names of PostgreSQL's own types. Their numbers are fixed for ever (`pg_type.dat`).
use rustc_hash::FxHashMap;
use std::sync::Arc;

pub(crate) const BOOL: u32 = 16;
pub(crate) const BYTEA: u32 = 17;
pub(crate) const INT8: u32 = 20;
pub(crate) const INT2: u32 = 21;
pub(crate) const INT4: u32 = 23;
pub(crate) const OID: u32 = 26;
pub(crate) const FLOAT4: u32 = 700;
pub(crate) const FLOAT8: u32 = 701;
pub(crate) const DATE: u32 = 1082;
pub(crate) const TIME: u32 = 1083;
pub(crate) const TIMESTAMP: u32 = 1114;
pub(crate) const TIMESTAMPTZ: u32 = 1184;
pub(crate) const UUID: u32 = 2950;
pub(crate) const JSONB: u32 = 3802;
pub(crate) const CHAR: u32 = 18;
pub(crate) const TEXT: u32 = 25;
pub(crate) const XML: u32 = 142;
pub(crate) const JSON: u32 = 114;
pub(crate) const BPCHAR: u32 = 1042;
pub(crate) const VARCHAR: u32 = 1043;
pub(crate) const NUMERIC: u32 = 1700;
/// Types whose binary form is their text: char, name, text, json, xml, unknown, bpchar, varchar.
pub(crate) const TEXTS: [u32; 8] = [18, 19, 25, 114, 142, 705, 1042, 1043];

const NAMES: &[(u32, &str)] = &[
    (BOOL, "bool"),
    (BYTEA, "bytea"),
    (CHAR, "char"),
    (19, "name"),
    (INT8, "int8"),
    (INT2, "int2"),
    (INT4, "int4"),
    (24, "regproc"),
    (TEXT, "text"),
    (OID, "oid"),
    (27, "tid"),
    (28, "xid"),
    (29, "cid"),
    (JSON, "json"),
    (XML, "xml"),
    (199, "json[]"),
    (600, "point"),
    (601, "lseg"),
    (602, "path"),
    (603, "box"),
    (604, "polygon"),
    (628, "line"),
    (650, "cidr"),
    (FLOAT4, "float4"),
    (FLOAT8, "float8"),
    (705, "unknown"),
    (718, "circle"),
    (790, "money"),
    (829, "macaddr"),
    (869, "inet"),
    (1000, "bool[]"),
    (1001, "bytea[]"),
    (1005, "int2[]"),
    (1007, "int4[]"),
    (1009, "text[]"),
    (1014, "bpchar[]"),
    (1015, "varchar[]"),
    (1016, "int8[]"),
    (1021, "float4[]"),
    (1022, "float8[]"),
    (1028, "oid[]"),
    (1041, "inet[]"),
    (BPCHAR, "bpchar"),
    (VARCHAR, "varchar"),
    (DATE, "date"),
    (TIME, "time"),
    (TIMESTAMP, "timestamp"),
    (1115, "timestamp[]"),
    (1182, "date[]"),
    (TIMESTAMPTZ, "timestamptz"),
    (1185, "timestamptz[]"),
    (1186, "interval"),
    (1231, "numeric[]"),
    (1266, "timetz"),
    (1560, "bit"),
    (1562, "varbit"),
    (NUMERIC, "numeric"),
    (1790, "refcursor"),
    (2205, "regclass"),
    (2206, "regtype"),
    (2249, "record"),
    (UUID, "uuid"),
    (2951, "uuid[]"),
    (3220, "pg_lsn"),
    (3614, "tsvector"),
    (3615, "tsquery"),
    (JSONB, "jsonb"),
    (3807, "jsonb[]"),
    (3904, "int4range"),
    (3906, "numrange"),
    (3908, "tsrange"),
    (3910, "tstzrange"),
    (3912, "daterange"),
    (3926, "int8range"),
    (4072, "jsonpath"),
];

/// The names, ready to be shared by all records.
#[derive(Debug)]
pub struct TypeNames {
    names: FxHashMap<u32, Arc<str>>,
}

impl TypeNames {
    /// All names that are known.
    #[must_use]
    pub fn new() -> TypeNames {
        TypeNames {
            names: NAMES
                .iter()
                .map(|(oid, name)| (*oid, Arc::from(*name)))
                .collect(),
        }
    }

    /// The name of a type: `int4`, or `oid:16402` for one of the database's own. `None` when the
    /// type was not said.
    #[must_use]
    pub fn name(&self, oid: u32) -> Option<Arc<str>> {
        match oid {
            0 => None,
            oid => Some(match self.names.get(&oid) {
                Some(name) => Arc::clone(name),
                None => Arc::from(format!("oid:{oid}")),
            }),
        }
    }
}

impl Default for TypeNames {
    fn default() -> TypeNames {
        TypeNames::new()
    }
}
