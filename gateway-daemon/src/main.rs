//! The one binary: parses, loads the configuration, and hands over. No logic lives here.
mod args;
mod command;
mod commands;
mod config;
mod daemon;
mod exit;
mod memory;
mod terminal;
mod wiring;

use crate::args::Arguments;
use crate::args::TrustArguments;
use crate::command::Command;
use crate::config::{Config, ConfigError};
use crate::exit::{Exit, Failure};
use clap::Parser;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let written = match Arguments::try_parse() {
        Ok(written) => written,
        Err(error) => {
            // A reader that went away (`gateway --help | head`) changes nothing.
            let _ = error.print();
            return ExitCode::from(usage_code(&error));
        }
    };
    let named = written.config.clone();
    let command = match command::validate(written, terminal::moment::now()) {
        Ok(command) => command,
        Err(failure) => return ended(Err(failure)),
    };
    if let Command::Run(run) = &command {
        return ExitCode::from(match config::load(named.as_deref()) {
            Ok(config) => commands::run::run(&config, run),
            Err(error) => {
                eprintln!("gateway: run: {error}");
                commands::run::FAILED
            }
        });
    }
    if let Command::SshSession(session) = &command {
        // The environment is the session's: it does not say whom to ask.
        let named = named.filter(|_| names_configuration(std::env::args_os().skip(1)));
        return ended(commands::ssh_session::ssh_session(
            named.as_deref(),
            session,
        ));
    }
    ended(execute(&command, named.as_deref()))
}

/// `gateway run` fails as env(1) does, since its command may end with 2 as well.
fn usage_code(error: &clap::Error) -> u8 {
    match u8::try_from(error.exit_code()) {
        Ok(2) if is_run(std::env::args_os().skip(1)) => commands::run::FAILED,
        Ok(code) => code,
        Err(_) => Exit::Usage as u8,
    }
}

/// Is `run` the command? What comes before it can only be `--config FILE`.
fn is_run(mut words: impl Iterator<Item = OsString>) -> bool {
    while let Some(word) = words.next() {
        if word == "--config" {
            words.next();
        } else if !word.as_encoded_bytes().starts_with(b"-") {
            return word == "run";
        }
    }
    false
}

/// Is the configuration named on the command line?
fn names_configuration(mut words: impl Iterator<Item = OsString>) -> bool {
    words.any(|word| {
        let word = word.as_encoded_bytes();
        word == b"--config" || word.starts_with(b"--config=")
    })
}

fn ended(result: Result<Exit, Failure>) -> ExitCode {
    match result {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(failure) => {
            eprintln!("gateway: {}", terminal::escape::lines(&failure.message));
            ExitCode::from(failure.exit as u8)
        }
    }
}

pub(crate) fn load(named: Option<&Path>) -> Result<Config, Failure> {
    config::load(named).map_err(|error: ConfigError| Failure::usage(error.to_string()))
}

fn execute(command: &Command, named: Option<&Path>) -> Result<Exit, Failure> {
    let config = load(named)?;
    match command {
        Command::Daemon => daemon::run(&config),
        Command::Run(_) | Command::SshSession(_) => Ok(Exit::Done),
        Command::Login {
            saml: Some(file),
            json,
            ..
        } => commands::login::login_saml(&config, file, *json),
        Command::Login { issuer, json, .. } => {
            commands::login::login(&config, issuer.as_deref(), *json)
        }
        Command::Status { json } => commands::status::status(&config, *json),
        Command::Doctor { all, json } => commands::doctor::doctor(&config, *all, *json),
        Command::Trees { json } => commands::trees::trees(&config, *json),
        Command::Lineage { target, json } => commands::lineage::lineage(&config, *target, *json),
        Command::Sessions { filter, json } => commands::records::sessions(&config, filter, *json),
        Command::Acts { filter, json } => commands::records::acts(&config, filter, *json),
        Command::Log {
            filter,
            follow,
            json,
        } => commands::records::log(&config, filter, *follow, *json),
        Command::Show { session, json } => commands::records::show(&config, *session, *json),
        Command::Replay(playback) => commands::records::replay(&config, playback),
        Command::Kill { target, json } => commands::kill::kill(&config, *target, *json),
        Command::Approvals { watch, json } => {
            commands::approvals::approvals(&config, *watch, *json)
        }
        Command::Answer(answer) => commands::approvals::answer(&config, answer),
        Command::Revoke(revoke) => commands::revoke::revoke(&config, revoke),
        Command::Credentials(what) => commands::credentials::credentials(&config, what),
        Command::PolicyCheck { path, json } => {
            commands::policy::check(&config, path.as_deref(), *json)
        }
        Command::PolicyTest { path, json } => {
            commands::policy::test(&config, path.as_deref(), *json)
        }
        Command::PolicyExplain(explain) => commands::policy::explain(&config, explain),
        Command::PolicyReplay(replay) => commands::policy::replay::replay(&config, replay),
        Command::PolicyLearn(learn) => commands::policy::learn::learn(&config, learn),
        Command::Trust(TrustArguments::Install) => commands::trust::install(&config),
        Command::Trust(TrustArguments::Export) => commands::trust::export(&config),
        Command::Trust(TrustArguments::Rotate { compromised }) => {
            commands::trust::rotate(&config, *compromised)
        }
        Command::Upgrade => commands::upgrade::upgrade(&config),
        Command::Uninstall => commands::uninstall::uninstall(&config),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_of_the_environment_is_told_from_a_named_one() {
        for (line, expected) in [
            ("ssh-session", false),
            ("ssh-session --policy config", false),
            ("--config /x ssh-session", true),
            ("ssh-session --config=/x", true),
        ] {
            let words = line.split_whitespace().map(OsString::from);
            assert_eq!(names_configuration(words), expected, "{line}");
        }
    }

    #[test]
    fn the_command_is_found_among_options() {
        for (line, expected) in [
            ("run", true),
            ("run --nope", true),
            ("--config /x run", true),
            ("--config=/x run -- ls", true),
            ("--config run status", false),
            ("status run", false),
            ("--nope", false),
            ("", false),
        ] {
            let words = line.split_whitespace().map(OsString::from);
            assert_eq!(is_run(words), expected, "{line}");
        }
    }
}
