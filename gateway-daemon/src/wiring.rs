//! Ties the crates together: each file makes one crate's port out of other crates' parts.
pub(crate) mod acts;
pub(crate) mod approvals;
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
pub(crate) mod login;
pub(crate) mod measure;
pub(crate) mod overview;
pub(crate) mod people;
pub(crate) mod protocols;
pub(crate) mod refusals;
pub(crate) mod revoker;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the control port is not wired yet")
)]
pub(crate) mod sign_in;
pub(crate) mod tokens;
