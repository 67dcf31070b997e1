//! Would the kernel half work here? Tried, and undone: nothing is attached, pinned or left.
use crate::attach::TRACING;
use crate::btf::{self, Types};
use crate::error::CaptureError;
use crate::load::{self, OffsetsOf};
use crate::object::Object;
use crate::seal::{self, Unsealed};
use crate::{doom, scan};
use aya::Btf;
use aya::programs::{Program, ProgramError};
use std::path::Path;

/// What the kernel says about itself, as far as the programs need it.
///
/// # Errors
/// There is no BTF, or a field or a tracepoint is lacking.
pub fn kernel_types() -> Result<Types, CaptureError> {
    let types = btf::read(Path::new(btf::VMLINUX))?;
    btf::offsets_in(&types)?;
    match tracepoints().find(|(_, name)| !types.has_tracepoint(name)) {
        Some((_, name)) => Err(CaptureError::NoField {
            what: format!("tracepoint {name}"),
        }),
        None => Ok(types),
    }
}

/// A program that the verifier took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// As the object calls it.
    pub name: String,
    /// How many instructions the verifier went through, each as often as it did (`verified_insns` of
    /// `bpf_prog_info`): it gives up at a million.
    pub instructions: u32,
}

/// What the kernel took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The programs, by name.
    pub programs: Vec<Verified>,
    /// Why those of BPF LSM are not among them, or would not be called, where that is so.
    pub seal: Result<(), Unsealed>,
}

/// Has the kernel load and verify all programs of an object, and drops them.
///
/// # Errors
/// The kernel refuses one that is needed, or the caller may not load any.
pub fn load_programs(object: Object) -> Result<Tried, CaptureError> {
    let offsets = OffsetsOf::kernel(&btf::read(Path::new(btf::VMLINUX))?)?;
    let types =
        Btf::from_sys_fs().map_err(|error| CaptureError::new("read the kernel's BTF", &error))?;
    // No pin paths: the maps are this process's, and go with it.
    let mut ebpf = load::loader(&types, &offsets)
        .load(object.bytes())
        .map_err(|error| CaptureError::new("load the eBPF object", &error))?;
    scan::load(&mut ebpf, &types)?;
    let mut verified = Vec::new();
    let mut seal = offsets.lacking.clone().and_then(|()| seal::active());
    let mut programs: Vec<_> = ebpf.programs_mut().collect();
    // The same one is named each time.
    programs.sort_by_key(|(name, _)| *name);
    for (name, program) in programs {
        let failed = |error| CaptureError::new(format!("load the program {name}"), &error);
        let is_seal = seal::hook(name).is_some();
        if is_seal && seal.is_err() {
            continue;
        }
        match load_one(name, program, &types) {
            Ok(()) | Err(ProgramError::AlreadyLoaded) => {}
            Err(error) if is_seal => {
                seal = Err(failed(error).to_string());
                continue;
            }
            Err(error) => return Err(failed(error)),
        }
        let info = program.info().map_err(failed)?;
        verified.push(Verified {
            name: name.to_owned(),
            // Every kernel since 5.16 counts, and ours begin at 6.1.
            instructions: info.verified_instruction_count().unwrap_or_default(),
        });
    }
    Ok(Tried {
        programs: verified,
        seal,
    })
}

fn load_one(name: &str, program: &mut Program, types: &Btf) -> Result<(), ProgramError> {
    match program {
        Program::BtfTracePoint(tracing) => {
            let found = tracepoints().find(|(program, _)| *program == name);
            let (_, tracepoint) = found.ok_or(ProgramError::UnexpectedProgramType)?;
            tracing.load(tracepoint, types)
        }
        Program::Lsm(program) => {
            let hook = seal::hook(name).ok_or(ProgramError::UnexpectedProgramType)?;
            program.load(hook, types)
        }
        Program::CgroupSockAddr(program) => program.load(),
        Program::CgroupSock(program) => program.load(),
        Program::SockOps(program) => program.load(),
        Program::CgroupSkb(program) => program.load(),
        // Loaded before all others.
        Program::Iter(_) => Ok(()),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

fn tracepoints() -> impl Iterator<Item = (&'static str, &'static str)> {
    TRACING
        .into_iter()
        .chain([(doom::PROGRAM, doom::TRACEPOINT)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_says_what_is_needed() {
        assert!(kernel_types().is_ok());
    }
}
