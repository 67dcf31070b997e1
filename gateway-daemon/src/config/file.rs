//! The configuration as it is written. Keys that the contract knows and this version does not
//! build yet are named here too, so that they are refused by name and not taken for typing errors.
use super::limits::WrittenLimits;
use serde::Deserialize;
use toml::Spanned;

type Written<T> = Option<Spanned<T>>;
/// What only has to be there to be refused.
type Unbuilt = Option<Spanned<toml::Value>>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) state_dir: Written<String>,
    pub(super) control_socket: Written<String>,
    pub(super) policy_dir: Written<String>,
    pub(super) capture: Capture,
    pub(super) dns: Dns,
    pub(super) limits: WrittenLimits,
    pub(super) recording: Recording,
    pub(super) control: Unbuilt,
    pub(super) directory: Unbuilt,
    pub(super) webhook: Unbuilt,
    pub(super) issuer: Unbuilt,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Capture {
    pub(super) cgroup_root: Written<String>,
    pub(super) bpffs_dir: Written<String>,
    pub(super) debug_log: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Dns {
    pub(super) servers: Unbuilt,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Recording {
    pub(super) durability: Written<String>,
    pub(super) disk_full: Written<String>,
    pub(super) retention: Unbuilt,
}
