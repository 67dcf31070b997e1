//! The product against real servers, real clients and this kernel. Needs root.
mod harness;
