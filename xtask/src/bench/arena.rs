//! What is measured stands here together: the gateway, the rivals, the database, a plain server.
use super::load;
use anyhow::{Context, Result};
use gateway_tests::certificates::{Authority, Certificate};
use gateway_tests::cluster::free_port;
use gateway_tests::{Cluster, Daemon, Job, Running, Scene, Subtree, place, policy, wait};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Certificates for the database and the rival, of one authority, in files.
pub(super) struct Certificates {
    directory: TempDir,
    certificate: Certificate,
}

impl Certificates {
    pub(super) fn new() -> Result<Certificates> {
        let authority = Authority::new("the bench's authority")?;
        let certificate = authority.issue(&["127.0.0.1"])?;
        let directory = open_directory()?;
        for (name, text) in [
            ("ca.pem", &authority.pem),
            ("server.pem", &certificate.pem),
            ("server.key", &certificate.key),
        ] {
            fs::write(directory.path().join(name), text)?;
        }
        Ok(Certificates {
            directory,
            certificate,
        })
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }
}

/// A scene with a policy that allows the database and one opaque destination.
pub(super) fn scene(opaque_port: u16) -> Result<Scene> {
    scene_over(opaque_port, None)
}

/// The same, with a database that speaks TLS, which the gateway verifies.
pub(super) fn scene_over(opaque_port: u16, tls: Option<&Certificates>) -> Result<Scene> {
    let subtree = Arc::new(Subtree::create()?);
    let cluster = Cluster::start()?;
    if let Some(tls) = tls {
        cluster.speak_tls(&tls.certificate)?;
    }
    let rules = format!(
        "{}\n[[resource]]\nname = \"plain\"\nhosts = [\"127.0.0.1\"]\nports = [{opaque_port}]\n\n\
         [[rule]]\nname = \"opaque flows\"\nresources = [\"plain\"]\n\
         verbs = [\"connect\", \"unknown\"]\nverdict = \"allow\"\n",
        policy::ALLOW_ALL
    );
    let mut text = policy::with_rules(&subtree, cluster.port(), &rules);
    if let Some(tls) = tls {
        let ca = tls.path("ca.pem");
        let terms = format!("\ntls = {{ upstream = \"verify-full\", ca = \"{ca}\" }}\nports = ");
        text = text.replacen("\nports = ", &terms, 1);
    }
    let daemon = Daemon::prepare(&subtree)?.policy("bench", &text)?.start()?;
    Ok(Scene {
        daemon,
        cluster,
        subtree,
    })
}

/// A server that logs every statement would hide what a proxy costs.
pub(super) fn log_no_statements(cluster: &Cluster) -> Result<()> {
    cluster.query("alter system set log_statement = 'none'")?;
    cluster.query("select pg_reload_conf()").map(drop)
}

/// A rival with its configuration; dropping it ends it.
pub(super) struct Rival {
    _running: Running,
    _directory: TempDir,
    /// Where it listens.
    pub(super) port: u16,
}

impl Rival {
    /// pgbouncer with session pooling, as its package runs it: as an unprivileged user.
    /// With certificates: over TLS on both sides, and it verifies the upstream too.
    pub(super) fn pgbouncer(upstream: u16, tls: Option<&Certificates>) -> Result<Rival> {
        let (directory, port) = (open_directory()?, free_port()?);
        let file = directory.path().join("pgbouncer.ini");
        let users = directory.path().join("users.txt");
        fs::write(&users, "\"postgres\" \"\"\n")?;
        let tls = tls.map_or_else(String::new, |tls| {
            format!(
                "client_tls_sslmode = require\nclient_tls_cert_file = {}\n\
                 client_tls_key_file = {}\nserver_tls_sslmode = verify-full\n\
                 server_tls_ca_file = {}\n",
                tls.path("server.pem"),
                tls.path("server.key"),
                tls.path("ca.pem")
            )
        });
        fs::write(
            &file,
            format!(
                "[databases]\npostgres = host=127.0.0.1 port={upstream} dbname=postgres\n\
                 [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
                 auth_type = trust\nauth_file = {}\npool_mode = session\nmax_client_conn = 500\n\
                 default_pool_size = 100\nignore_startup_parameters = extra_float_digits\n\
                 log_connections = 0\nlog_disconnections = 0\n{tls}",
                users.display()
            ),
        )?;
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            "--",
        ]);
        command.args(["/usr/sbin/pgbouncer", "-q"]).arg(&file);
        Rival::start(command, directory, port)
    }

    /// haproxy in TCP mode.
    pub(super) fn haproxy(upstream: u16) -> Result<Rival> {
        let (directory, port) = (open_directory()?, free_port()?);
        let file = directory.path().join("haproxy.cfg");
        fs::write(
            &file,
            format!(
                "global\n  maxconn 4000\n\
                 defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 5m\n  timeout server 5m\n\
                 frontend in\n  bind 127.0.0.1:{port}\n  default_backend out\n\
                 backend out\n  server one 127.0.0.1:{upstream}\n"
            ),
        )?;
        let mut command = Command::new("haproxy");
        command.args(["-db", "-q", "-f"]).arg(&file);
        Rival::start(command, directory, port)
    }

    fn start(mut command: Command, directory: TempDir, port: u16) -> Result<Rival> {
        let mut running = Running::start(&mut command)?;
        await_port(&mut running, port)?;
        Ok(Rival {
            _running: running,
            _directory: directory,
            port,
        })
    }
}

/// A directory that a server of another user can read.
pub(super) fn open_directory() -> Result<TempDir> {
    use std::os::unix::fs::PermissionsExt;
    let directory = place::temporary_directory()?;
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
    Ok(directory)
}

/// A server of our own that speaks no protocol, in a process of its own.
pub(super) struct Plain {
    _running: Running,
    /// Where it listens.
    pub(super) port: u16,
}

impl Plain {
    /// Starts a server of this kind: see [`load`].
    pub(super) fn start(kind: &str) -> Result<Plain> {
        Plain::open(|own, port| load::command(None, own, kind, &[port]))
    }

    /// The same in the cgroup of a job, or in our own, on the second processor: its client stays on the
    /// first.
    pub(super) fn start_apart(job: Option<&Job>, kind: &str) -> Result<Plain> {
        Plain::open(|own, port| load::command(job, own, "stay-on", &["1", kind, port]))
    }

    fn open(command: impl Fn(&Path, &str) -> Command) -> Result<Plain> {
        let port = free_port()?;
        let mut command = command(&std::env::current_exe()?, &port.to_string());
        let mut running = Running::start(&mut command)?;
        await_port(&mut running, port)?;
        Ok(Plain {
            _running: running,
            port,
        })
    }
}

fn await_port(running: &mut Running, port: u16) -> Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let up = wait::until_true("a server to listen", Duration::from_secs(10), || {
        running.has_ended() || TcpStream::connect(address).is_ok()
    });
    if running.has_ended() {
        anyhow::bail!("it ended at once: {}{}", running.stdout(), running.stderr());
    }
    up
}

/// Runs our own load against a port and returns the number that it prints; in a governed job, or
/// outside of every subtree.
pub(super) fn measure(job: Option<&Job>, kind: &str, arguments: &[&str]) -> Result<f64> {
    let mut command = load::command(job, &std::env::current_exe()?, kind, arguments);
    let outcome = Running::start(&mut command)?
        .wait(Duration::from_secs(300))?
        .success()?;
    outcome
        .stdout
        .trim()
        .parse()
        .with_context(|| format!("{outcome:?}"))
}

/// A line of a process's `/proc/PID/status` in KiB: `VmRSS` is what is resident, `RssAnon` the part
/// of it that is its own and not a page of a file.
pub(super) fn memory_kib(pid: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next());
    let number = number.with_context(|| format!("no {name} of process {pid}"))?;
    Ok(number.parse()?)
}
