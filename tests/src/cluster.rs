//! A throwaway PostgreSQL 15 that logs every statement it is given.
use crate::certificates::{Authority, Certificate};
use crate::running::{self, Outcome};
use crate::{place, wait};
use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, chown};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// The user that Debian's package makes: the server refuses to run as root.
const USER: &str = "postgres";
/// The password of the roles `scram` and `md5`, which have to give it.
pub const PASSWORD: &str = "throwaway";

const SETTINGS: &str = "\
log_statement = all
log_line_prefix = '%m [%p] %h '
log_connections = on
fsync = off
synchronous_commit = off
full_page_writes = off
max_connections = 300
max_wal_size = 4GB
shared_buffers = 128MB
max_prepared_transactions = 4
timezone = UTC
";

const ACCESS: &str = "\
local all all trust
host all scram all scram-sha-256
host all md5 all md5
host all all all trust
host replication all all trust
";

/// A running server. Dropping it stops it and removes its data.
pub struct Cluster {
    directory: TempDir,
    server: Child,
    port: u16,
    listen: Vec<IpAddr>,
}

impl Cluster {
    /// Starts one on 127.0.0.1.
    ///
    /// # Errors
    /// PostgreSQL is not installed, we are not root, or it does not come up.
    pub fn start() -> Result<Cluster> {
        Cluster::start_on(&[])
    }

    /// Starts one on 127.0.0.1 and on these addresses.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_on(addresses: &[IpAddr]) -> Result<Cluster> {
        ensure!(
            place::is_root(),
            "PostgreSQL is started as the user {USER}, which needs root"
        );
        let template = template()?;
        let directory = place::temporary_directory()?;
        hand_over(directory.path())?;
        let data = directory.path().join("data");
        running::run(Command::new("cp").arg("-a").arg(&template).arg(&data))?.success()?;
        fs::write(data.join("pg_hba.conf"), ACCESS)?;
        let mut listen = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
        listen.extend(addresses);
        let port = free_port()?;
        let server = spawn(directory.path(), &listen, port)?;
        let mut cluster = Cluster {
            directory,
            server,
            port,
            listen,
        };
        cluster.wait_until_ready()?;
        Ok(cluster)
    }

    /// Stops the server at once and starts it again on the same port with the same data.
    ///
    /// # Errors
    /// It does not come up.
    pub fn restart(&mut self) -> Result<()> {
        self.stop();
        self.server = spawn(self.directory.path(), &self.listen, self.port)?;
        self.wait_until_ready()
    }

    /// Speaks TLS from now on, with this certificate.
    ///
    /// # Errors
    /// The server does not take it.
    pub fn speak_tls(&self, certificate: &Certificate) -> Result<()> {
        let data = self.directory.path().join("data");
        for (name, text) in [
            ("server.crt", &certificate.pem),
            ("server.key", &certificate.key),
        ] {
            let path = data.join(name);
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            hand_over(&path)?;
        }
        self.switch_tls("on")
    }

    /// Speaks no TLS from now on.
    ///
    /// # Errors
    /// The server does not take it.
    pub fn speak_no_tls(&self) -> Result<()> {
        self.switch_tls("off")
    }

    fn switch_tls(&self, state: &str) -> Result<()> {
        self.query(&format!("alter system set ssl = {state}"))?;
        self.reload()?;
        wait::until_true("the server to switch TLS", running::PATIENCE, || {
            self.query("show ssl").is_ok_and(|ssl| ssl == state)
        })
    }

    /// Believes the certificates of clients that this authority made.
    ///
    /// # Errors
    /// The server does not take it.
    pub fn believe(&self, authority: &Authority) -> Result<()> {
        let path = self.directory.path().join("data").join("clients.crt");
        fs::write(&path, &authority.pem)?;
        hand_over(&path)?;
        self.query("alter system set ssl_ca_file = 'clients.crt'")?;
        self.reload()
    }

    /// Who may log in from now on, and how: the lines of pg_hba.conf for TCP.
    ///
    /// # Errors
    /// The server does not take them.
    pub fn access(&self, lines: &str) -> Result<()> {
        let text = format!("local all all trust\n{lines}\n");
        fs::write(self.directory.path().join("data").join("pg_hba.conf"), text)?;
        self.reload()
    }

    fn reload(&self) -> Result<()> {
        // The postmaster reads it some time after it was told.
        let generation = || self.query("select pg_conf_load_time()");
        let before = generation()?;
        self.query("select pg_reload_conf()")?;
        wait::until_true("the configuration", running::PATIENCE, || {
            generation().is_ok_and(|now| now != before)
        })
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the postmaster.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.server.id()
    }

    /// How a client reaches it by address: a libpq connection string.
    #[must_use]
    pub fn address(&self) -> String {
        format!(
            "host=127.0.0.1 port={} user={USER} dbname={USER}",
            self.port
        )
    }

    /// The directory of its unix socket, by which the harness goes around every network.
    #[must_use]
    pub fn socket_directory(&self) -> &Path {
        self.directory.path()
    }

    /// Runs SQL around the gateway, through the unix socket, and returns psql's bare output.
    ///
    /// # Errors
    /// The SQL fails.
    pub fn query(&self, sql: &str) -> Result<String> {
        self.query_in(USER, sql)
    }

    /// The same in another database.
    ///
    /// # Errors
    /// As for [`Cluster::query`].
    pub fn query_in(&self, database: &str, sql: &str) -> Result<String> {
        let mut command = Command::new("psql");
        command
            .args([
                "-X",
                "-A",
                "-t",
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                USER,
                "-d",
                database,
                "-h",
            ])
            .arg(self.socket_directory())
            .args(["-p", &self.port.to_string(), "-c", sql]);
        Ok(running::run(&mut command)?
            .success()?
            .stdout
            .trim_end()
            .to_owned())
    }

    /// Everything that the server wrote to its log.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn log(&self) -> Result<String> {
        let path = self.directory.path().join("server.log");
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The first line of every statement that the server was given over the network, in its order, but
    /// for what the gateway asks of itself when a session begins.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn statements(&self) -> Result<Vec<String>> {
        self.statements_from(&mut 0)
    }

    /// The same, of the whole lines of the server's log behind `offset` bytes. Moves the offset
    /// behind them.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn statements_from(&self, offset: &mut u64) -> Result<Vec<String>> {
        let lines = self.log_from(offset)?;
        Ok(lines
            .lines()
            .filter(|line| !line.contains("[local]"))
            .filter_map(statement)
            .filter(|text| !is_gateways(text))
            .collect())
    }

    /// The whole lines of the server's log behind `offset` bytes. Moves the offset behind them.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn log_from(&self, offset: &mut u64) -> Result<String> {
        let path = self.directory.path().join("server.log");
        let mut file = File::open(&path).with_context(|| path.display().to_string())?;
        file.seek(SeekFrom::Start(*offset))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        bytes.truncate(
            bytes
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |end| end + 1),
        );
        *offset += bytes.len() as u64;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let port = self.port.to_string();
        let directory = self.directory.path().to_owned();
        let ready = wait::until_true(
            "PostgreSQL to accept connections",
            running::PATIENCE,
            || {
                let mut asked = Command::new("pg_isready");
                asked.args(["-q", "-p", &port, "-h"]).arg(&directory);
                self.server.try_wait().is_ok_and(|ended| ended.is_some())
                    || running::run(&mut asked).is_ok_and(|outcome| outcome.status.success())
            },
        );
        let ended = self.server.try_wait()?;
        if ended.is_some() || ready.is_err() {
            anyhow::bail!(
                "PostgreSQL did not come up:\n{}",
                self.log().unwrap_or_default()
            );
        }
        Ok(())
    }

    fn stop(&mut self) {
        // SIGQUIT is PostgreSQL's immediate shutdown: the data is thrown away with it.
        if let Ok(pid) = i32::try_from(self.server.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGQUIT);
        }
        let server = &mut self.server;
        let stopped = wait::until_true("PostgreSQL to stop", Duration::from_secs(15), || {
            !matches!(server.try_wait(), Ok(None))
        });
        if stopped.is_err() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

/// `LOG:  statement: TEXT`, or `LOG:  execute NAME: TEXT` of the extended protocol.
fn statement(line: &str) -> Option<String> {
    let (_, entry) = line.split_once("LOG:  ")?;
    let text = match entry.strip_prefix("statement: ") {
        Some(text) => text,
        None => entry.strip_prefix("execute ")?.split_once(": ")?.1,
    };
    Some(text.to_owned())
}

/// Does the gateway ask so for the search path?
fn is_gateways(text: &str) -> bool {
    text.starts_with("SHOW search_path")
        || text.contains("current_setting('search_path'), CURRENT_USER")
}

/// The address of a port that nobody has.
///
/// # Errors
/// No socket can be made.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

fn spawn(directory: &Path, listen: &[IpAddr], port: u16) -> Result<Child> {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(directory.join("server.log"))?;
    let listen = listen
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",");
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", USER, "--regid", USER, "--clear-groups"])
        // A run that is killed takes its server along.
        .args(["--pdeathsig", "QUIT", "--"])
        .arg(place::postgres_programs()?.join("postgres"))
        .arg("-D")
        .arg(directory.join("data"))
        .args([
            "-p",
            &port.to_string(),
            "-c",
            &format!("listen_addresses={listen}"),
            "-k",
        ])
        .arg(directory)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    command
        .spawn()
        .with_context(|| format!("`{}`", running::shown(&command)))
}

fn hand_over(path: &Path) -> Result<()> {
    let user = User::from_name(USER)?
        .with_context(|| format!("there is no user {USER}: run `cargo xtask setup`"))?;
    chown(path, Some(user.uid), Some(user.gid)).with_context(|| path.display().to_string())
}

/// initdb takes seconds, a copy of its result does not: made once per build directory.
fn template() -> Result<PathBuf> {
    // The tests of one process are threads: the first makes it, the others wait for it.
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = place::build_directory()?
        .join("gateway-tests")
        .join("postgresql-15");
    if kept.is_dir() {
        return Ok(kept);
    }
    let directory = place::temporary_directory()?;
    hand_over(directory.path())?;
    let data = directory.path().join("data");
    let mut initdb = Command::new("setpriv");
    initdb
        .args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"])
        .arg(place::postgres_programs()?.join("initdb"))
        .args([
            "--no-sync",
            "--no-locale",
            "--encoding=UTF8",
            "--auth=trust",
            "-U",
            USER,
            "-D",
        ])
        .arg(&data)
        .current_dir(directory.path());
    running::run(&mut initdb)?.success()?;
    let configuration = data.join("postgresql.conf");
    let standard = fs::read_to_string(&configuration)?;
    fs::write(&configuration, standard + SETTINGS)?;
    let roles = format!(
        "set password_encryption = 'scram-sha-256';\n\
         create role scram login superuser password '{PASSWORD}';\n\
         set password_encryption = 'md5';\n\
         create role md5 login superuser password '{PASSWORD}';\n"
    );
    single_user(&data, &roles)?;
    // Two processes may get here at once: each works in a place of its own, and one is first.
    let made = kept.with_extension(std::process::id().to_string());
    fs::create_dir_all(kept.parent().context("the build directory")?)?;
    running::run(Command::new("cp").arg("-a").arg(&data).arg(&made))?.success()?;
    if fs::rename(&made, &kept).is_err() {
        fs::remove_dir_all(&made)?;
    }
    ensure!(kept.is_dir(), "{} could not be made", kept.display());
    Ok(kept)
}

/// Runs SQL, one statement a line, in a cluster that is not started.
fn single_user(data: &Path, sql: &str) -> Result<Outcome> {
    use std::io::Write;
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"])
        .arg(place::postgres_programs()?.join("postgres"))
        .args(["--single", "-D"])
        .arg(data)
        .arg(USER)
        .current_dir(data)
        .stdin(Stdio::piped());
    let mut server = running::Running::start_with_input(&mut command)?;
    let mut input = server.take_stdin().context("standard input")?;
    input.write_all(sql.as_bytes())?;
    drop(input);
    server.wait(running::PATIENCE)?.success()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_read_from_the_log() {
        let check = |line: &str, expected: Option<&str>| {
            assert_eq!(statement(line).as_deref(), expected, "{line}");
        };
        let prefix = "2026-11-23 08:00:00.000 UTC [7] 127.0.0.1 ";
        check(
            &format!("{prefix}LOG:  statement: select 'a: b'"),
            Some("select 'a: b'"),
        );
        check(
            &format!("{prefix}LOG:  execute <unnamed>: select $1"),
            Some("select $1"),
        );
        check(
            &format!("{prefix}LOG:  execute s1/c_1: select 1"),
            Some("select 1"),
        );
        check(
            &format!("{prefix}LOG:  connection authorized: user=postgres"),
            None,
        );
        check(&format!("{prefix}ERROR:  division by zero"), None);
        check("\tcontinued", None);
    }
}
