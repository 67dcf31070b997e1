//! `cargo xtask`: what cargo cannot do. One file per subcommand.
mod bench;
mod demo;
mod ebpf;
mod process;
mod project;
mod setup;
mod soak;
mod test;
mod tidy;
mod vm;
mod ways_out;

use anyhow::{Result, bail};
use project::Project;
use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask COMMAND

  setup              installs what the other commands need on Debian 12, and says why
  demo               the whole product in one story, on a throwaway PostgreSQL
  test [STEP…]       every check and test; a step is one of: ebpf, tidy, clippy, unit, build,
                     policies, integration, vm, fuzz
  tidy [--clippy]    the layers, the house rules, the formatting
  ebpf [--check]     builds the kernel half; --check: is the object built from these sources?
  bench [NAME…]      measurements in interleaved pairs: pgbench, pgbench-tls, connect, bulk, fork,
                     memory, masks, copy, memory-masks, dns
  vm [--accept] [KERNEL…] [TEST…]
                     the product on Debian's kernels in QEMU: 6.1, 6.12, newest; --accept keeps
                     how much their verifiers went through; TEST, such as capture:: or
                     attacks::no_way_out, runs nothing but the tests that begin so
  ways-out [--json] [ROW…]
                     tries each way out, and prints what came of it beside what the doctor says
  soak NAME          the long forms of tests: crash [ROUNDS], storm [PROCESSES], churn [MINUTES]
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let Some((command, rest)) = arguments.split_first() else {
        bail!("no command\n\n{USAGE}")
    };
    let project = Project::locate()?;
    match command.as_str() {
        "setup" => setup::run(&project, rest),
        "demo" => demo::run(&project, rest),
        "test" => test::run(&project, rest),
        "tidy" => tidy::run(&project, rest),
        "ebpf" => ebpf::run(&project, rest),
        "bench" => bench::run(&project, rest),
        "soak" => soak::run(&project, rest),
        "vm" => vm::run(&project, rest),
        "ways-out" => ways_out::run(&project, rest),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        other => bail!("there is no command `{other}`\n\n{USAGE}"),
    }
}
