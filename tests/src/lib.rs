//! The harness: everything that a test, the demo or a measurement needs around the product.
//!
//! It meets the product from outside, as its users do: through the binary, its files, the kernel,
//! and real peers. Whatever it makes is removed when the value is dropped, also after a panic; what
//! a killed run left behind is removed by the next.
pub mod attacks;
pub mod bpffs;
pub mod certificates;
pub mod churn;
pub mod cluster;
pub mod crash;
pub mod daemon;
pub mod flood;
pub mod job;
pub mod nameserver;
pub mod namespace;
pub mod place;
pub mod policy;
pub mod provider;
pub mod responder;
pub mod running;
pub mod saml;
pub mod scene;
pub mod skip;
pub mod sniffer;
pub mod sshd;
pub mod storm;
pub mod subtree;
pub mod sweep;
pub mod wait;

pub use bpffs::Bpffs;
pub use cluster::Cluster;
pub use daemon::Daemon;
pub use job::Job;
pub use namespace::Namespace;
pub use provider::Provider;
pub use running::{Outcome, Running};
pub use saml::SamlProvider;
pub use scene::Scene;
pub use subtree::Subtree;
