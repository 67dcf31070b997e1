//! The names of PostgreSQL's own types. Their numbers are fixed for ever (`pg_type.dat`).
use rustc_hash::FxHashMap;
use std::sync::Arc;

pub(super) const BOOL: u32 = 16;
pub(super) const BYTEA: u32 = 17;
pub(super) const INT8: u32 = 20;
pub(super) const INT2: u32 = 21;
pub(super) const INT4: u32 = 23;
pub(super) const OID: u32 = 26;
pub(super) const FLOAT4: u32 = 700;
pub(super) const FLOAT8: u32 = 701;
pub(super) const DATE: u32 = 1082;
pub(super) const TIME: u32 = 1083;
pub(super) const TIMESTAMP: u32 = 1114;
pub(super) const TIMESTAMPTZ: u32 = 1184;
pub(super) const UUID: u32 = 2950;
pub(super) const JSONB: u32 = 3802;
/// Types whose binary form is their text: char, name, text, json, xml, unknown, bpchar, varchar.
pub(super) const TEXTS: [u32; 8] = [18, 19, 25, 114, 142, 705, 1042, 1043];

const NAMES: &[(u32, &str)] = &[
    (BOOL, "bool"),
    (BYTEA, "bytea"),
    (18, "char"),
    (19, "name"),
    (INT8, "int8"),
    (INT2, "int2"),
    (INT4, "int4"),
    (24, "regproc"),
    (25, "text"),
    (OID, "oid"),
    (27, "tid"),
    (28, "xid"),
    (29, "cid"),
    (114, "json"),
    (142, "xml"),
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
    (1042, "bpchar"),
    (1043, "varchar"),
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
    (1700, "numeric"),
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
