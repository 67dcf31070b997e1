//! Ties the crates together: each file makes one crate's port out of other crates' parts.
pub(crate) mod archive;
pub(crate) mod attribution;
pub(crate) mod callers;
pub(crate) mod capture;
pub(crate) mod cgroups;
pub(crate) mod clock;
pub(crate) mod follower;
pub(crate) mod governance;
pub(crate) mod identity;
pub(crate) mod launcher;
pub(crate) mod lineage;
pub(crate) mod measure;
pub(crate) mod overview;
pub(crate) mod protocols;
pub(crate) mod refusals;
