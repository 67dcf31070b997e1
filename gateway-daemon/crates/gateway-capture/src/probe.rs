//! Would the kernel half work here? Tried, and undone: nothing is attached, pinned or left.
use crate::btf::{self, Types};
use crate::error::CaptureError;
use crate::load::{self, TRACING};
use crate::object::Object;
use crate::wire::Wire;
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

/// Has the kernel load and verify all programs of an object, and drops them. Says how many.
///
/// # Errors
/// The kernel refuses one, or the caller may not load any.
pub fn load_programs(object: Object) -> Result<usize, CaptureError> {
    let offsets = Wire(btf::offsets(Path::new(btf::VMLINUX))?);
    let types =
        Btf::from_sys_fs().map_err(|error| CaptureError::new("read the kernel's BTF", &error))?;
    // No pin paths: the maps are this process's, and go with it.
    let mut ebpf = load::loader(&types, &offsets)
        .load(object.bytes())
        .map_err(|error| CaptureError::new("load the eBPF object", &error))?;
    scan::load(&mut ebpf, &types)?;
    let mut loaded = 0;
    let mut programs: Vec<_> = ebpf.programs_mut().collect();
    // The same one is named each time.
    programs.sort_by_key(|(name, _)| *name);
    for (name, program) in programs {
        match load_one(name, program, &types) {
            Ok(()) | Err(ProgramError::AlreadyLoaded) => loaded += 1,
            Err(error) => {
                let what = format!("load the program {name}");
                return Err(CaptureError::new(what, &error));
            }
        }
    }
    Ok(loaded)
}

fn load_one(name: &str, program: &mut Program, types: &Btf) -> Result<(), ProgramError> {
    match program {
        Program::BtfTracePoint(tracing) => {
            let found = tracepoints().find(|(program, _)| *program == name);
            let (_, tracepoint) = found.ok_or(ProgramError::UnexpectedProgramType)?;
            tracing.load(tracepoint, types)
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
