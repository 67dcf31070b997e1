//! A real sshd of our own, on loopback, with keys, users and a PAM file that nobody else sees: it
//! runs in a mount namespace in which these stand in the places of the host's.
use crate::cluster::free_port;
use crate::running::PATIENCE;
use crate::{Job, Running, Subtree, place, running, skip, wait};
use anyhow::{Context, Result, ensure};
use std::fmt::Write;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

/// The daemon under test of these tests.
pub const SSHD: &str = "/usr/sbin/sshd";
/// What the certificate calls whoever has it.
pub const KEY_ID: &str = "alice@acme.example";
/// Users that exist in the namespace alone, beside root.
const USERS: [(&str, u32); 2] = [("alice", 41_001), ("bob", 41_002)];

/// With what somebody logs in.
#[derive(Clone, Copy, Debug)]
pub enum Credential {
    /// A key that the account trusts.
    Key,
    /// A key with a certificate for all users.
    Certificate,
}

/// Keys, users and a PAM file: what any number of servers can share.
pub struct SshPlace {
    directory: TempDir,
}

impl SshPlace {
    /// Makes them; `None` where sshd or pam_exec cannot be had, which is said.
    ///
    /// # Errors
    /// Something cannot be made.
    pub fn make_or_skip() -> Result<Option<SshPlace>> {
        let modules = [
            "/usr/lib/x86_64-linux-gnu/security",
            "/lib/security",
            "/usr/lib64/security",
        ];
        let module = |directory: &&str| Path::new(directory).join("pam_exec.so").exists();
        if !Path::new(SSHD).exists() || !modules.iter().any(module) {
            skip::skip("no sshd with PAM: apt-get install openssh-server");
            return Ok(None);
        }
        let directory = place::temporary_directory()?;
        // Users read what sshd reads in their name.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        let made = SshPlace { directory };
        for name in ["host", "authority", "key", "certified"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]);
            running::run(keygen.arg(made.file(name)))?.success()?;
        }
        let mut sign = Command::new("ssh-keygen");
        sign.args(["-q", "-I", KEY_ID, "-n", "alice,bob,root", "-s"]);
        sign.arg(made.file("authority"))
            .arg(made.file("certified.pub"));
        running::run(&mut sign)?.success()?;
        made.write_users()?;
        Ok(Some(made))
    }

    /// Where one of its files is.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write_users(&self) -> Result<()> {
        fs::create_dir(self.file("home"))?;
        let home = self.file("home");
        let home = home.display();
        let mut passwd = fs::read_to_string("/etc/passwd")?;
        let mut shadow = fs::read_to_string("/etc/shadow")?;
        for (name, uid) in USERS {
            let _ = writeln!(passwd, "{name}:x:{uid}:65534::{home}:/bin/sh");
            let _ = writeln!(shadow, "{name}:*:19000:0:99999:7:::");
        }
        fs::write(self.file("passwd"), passwd)?;
        fs::write(self.file("shadow"), shadow)?;
        fs::set_permissions(self.file("shadow"), fs::Permissions::from_mode(0o600))?;
        Ok(())
    }

    /// Writes a configuration of sshd for a port, and the PAM file with this line in it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn configure(&self, port: u16, pam: &str) -> Result<PathBuf> {
        let place = self.directory.path().display();
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {place}/host\nUsePAM yes\n\
             PidFile none\nAuthorizedKeysFile {place}/key.pub\n\
             TrustedUserCAKeys {place}/authority.pub\nStrictModes no\nPermitRootLogin yes\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nMaxStartups 100\n\
             Subsystem sftp internal-sftp\n"
        );
        let file = self.file(&format!("sshd-{port}"));
        fs::write(&file, text)?;
        fs::write(
            self.file(&format!("pam-{port}")),
            format!("account required pam_permit.so\n{pam}\nsession required pam_permit.so\n"),
        )?;
        Ok(file)
    }

    /// The arguments of unshare(1) with which a program sees the users, and the PAM file of this
    /// port. The program and its arguments follow.
    #[must_use]
    pub fn inside(&self, port: u16) -> Vec<String> {
        let place = self.directory.path().display();
        let script = format!(
            "mount -t tmpfs -o mode=755 none /run && mkdir /run/sshd &&\n\
             mount --bind {place}/passwd /etc/passwd && mount --bind {place}/shadow /etc/shadow &&\n\
             mount --bind {place}/pam-{port} /etc/pam.d/sshd && exec \"$@\""
        );
        [
            "--mount",
            "--propagation",
            "private",
            "/bin/sh",
            "-c",
            &script,
            "sh",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// ssh to a port of this host, with all that is needed before the name of the user.
    #[must_use]
    pub fn ssh(&self, port: u16, credential: Credential) -> Command {
        let mut command = Command::new("ssh");
        self.options(&mut command, credential);
        command.args(["-p", &port.to_string()]);
        command
    }

    /// What all clients of OpenSSH take.
    pub fn options(&self, command: &mut Command, credential: Credential) {
        let key = match credential {
            Credential::Key => "key",
            Credential::Certificate => "certified",
        };
        command.args(["-F", "/dev/null", "-i"]).arg(self.file(key));
        for option in [
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
        ] {
            command.args(["-o", option]);
        }
    }
}

/// An sshd that runs in `free/ssh-PORT` of a subtree, which no policy governs. Dropping it kills it
/// and its sessions.
pub struct SshServer {
    _listener: Running,
    subtree: Arc<Subtree>,
    port: u16,
}

impl SshServer {
    /// Starts one whose PAM file has this line.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start(place: &SshPlace, subtree: &Arc<Subtree>, pam: &str) -> Result<SshServer> {
        SshServer::start_program(place, subtree, pam, Path::new(SSHD))
    }

    /// The same with another program.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_program(
        place: &SshPlace,
        subtree: &Arc<Subtree>,
        pam: &str,
        program: &Path,
    ) -> Result<SshServer> {
        let port = free_port()?;
        let configuration = place.configure(port, pam)?;
        let job = Job::free(subtree, &format!("ssh-{port}"))?;
        let mut command = job.command("unshare");
        command.args(place.inside(port)).arg(program);
        command.arg("-D").arg("-e").arg("-f").arg(configuration);
        let listener = Running::start(&mut command)?;
        let server = SshServer {
            _listener: listener,
            subtree: Arc::clone(subtree),
            port,
        };
        wait_for(port)?;
        Ok(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        if let Err(error) = self.subtree.kill(&format!("free/ssh-{}", self.port)) {
            eprintln!("left behind: {error:#}");
        }
    }
}

/// Waits until somebody listens on a port of this host.
///
/// # Errors
/// Nobody does in time.
pub fn wait_for(port: u16) -> Result<()> {
    let listens = || TcpStream::connect(("127.0.0.1", port)).is_ok();
    let what = format!("sshd on port {port}");
    wait::until_true(&what, PATIENCE, listens)
}

/// The line of the PAM file, for a daemon's binary and configuration.
///
/// # Errors
/// A path cannot stand in such a file.
pub fn pam_line(binary: &Path, configuration: &Path, arguments: &str) -> Result<String> {
    let text = |path: &Path| {
        let text = path.to_str().map(str::to_owned);
        let text = text.filter(|text| !text.contains(char::is_whitespace));
        text.with_context(|| format!("{} in a PAM file", path.display()))
    };
    let (binary, configuration) = (text(binary)?, text(configuration)?);
    ensure!(!arguments.contains('\n'), "one line");
    Ok(format!(
        "session required pam_exec.so quiet {binary} --config {configuration} ssh-session {arguments}"
    ))
}
