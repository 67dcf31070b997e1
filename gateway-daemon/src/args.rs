//! The command line as it is written. [`crate::command`] makes of it what is meant.
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Sees, judges and records what the processes of governed trees do on the network.
#[derive(Debug, Parser)]
#[command(
    name = "gateway",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
#[command(
    after_help = "Exit codes: 0 done, 1 the answer is no, 2 wrong usage or configuration, \
                        3 the daemon cannot be reached, 4 not permitted."
)]
pub(crate) struct Arguments {
    /// The configuration file [default: /etc/gateway/gateway.toml]
    #[arg(long, global = true, value_name = "FILE", env = "GATEWAY_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: CommandArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CommandArguments {
    /// The daemon
    Daemon,
    /// Runs a command as the root of a governed tree
    #[command(
        after_help = "Exit codes: the command's own, 125 the gateway failed, 126 not \
                            executable, 127 not found, 128 + the signal that ended it."
    )]
    Run(RunArguments),
    /// Signs this login session in: at an OpenID issuer, where it prints an address and a code and
    /// waits; or with a SAML response
    Login(LoginArguments),
    /// For sshd's PAM file: governs this connection and binds it to who logged in
    #[command(
        name = "ssh-session",
        after_help = "Asked by pam_exec, which says who in the environment. Any exit code but 0 refuses \
                      the login. GATEWAY_CONFIG is not read: the environment is the session's."
    )]
    SshSession(SshSessionArguments),
    /// What is in force, what lives, what was lost; exit 0 only when a policy is enforced
    Status(JsonArguments),
    /// What this kernel and host can enforce: the tier, every way out that is open, how to close it
    #[command(
        after_help = "Works without a daemon, and leaves nothing. Exit codes: 1 something is missing \
                      that the gateway or a policy relies on, 4 the caller could not look at \
                      everything."
    )]
    Doctor(DoctorArguments),
    /// The governed trees
    Trees(JsonArguments),
    /// One lineage drawn as a tree, with who and why
    Lineage(LineageArguments),
    /// The sessions that match
    Sessions(SessionsArguments),
    /// The operations that match
    Log(LogArguments),
    /// One session whole
    Show(ShowArguments),
    /// One session played back as it happened
    #[command(
        after_help = "On a terminal it takes as long as it took, but for pauses. Elsewhere, and with \
                      --json, nothing is waited for unless --speed is given."
    )]
    Replay(PlaybackArguments),
    /// What people did to the gateway: answers, revocations, ends of sessions, sign-ins
    Acts(ActsArguments),
    /// Ends live sessions now
    Kill(KillArguments),
    /// What waits for a human; and answers
    Approvals(ApprovalsArguments),
    /// Denies a principal everything from now on, and ends its live sessions
    Revoke(RevokeArguments),
    /// What the gateway logs in with upstream, and signs webhooks with; works without a daemon
    #[command(subcommand)]
    Credentials(CredentialsArguments),
    /// Checks, tests, explains, replays and learns policies, without a daemon
    #[command(subcommand)]
    Policy(PolicyArguments),
    /// The authority by which clients believe the gateway's TLS
    #[command(subcommand)]
    Trust(TrustArguments),
    /// Has the daemon give way to the gateway that is installed now; its sessions go on
    Upgrade,
    /// Detaches the programs, stops the daemon, removes pins and cgroups; keeps the journal
    Uninstall,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum TrustArguments {
    /// Makes this host's programs believe it that ask the system
    Install,
    /// Prints its certificate in PEM form, and that of the one before
    Export,
    /// Makes another one
    Rotate {
        /// Somebody else may have the key: clients are told of the old one no more
        #[arg(long)]
        compromised: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct JsonArguments {
    /// One JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// The ways out that are closed too
    #[arg(long)]
    pub(crate) all: bool,
    /// One JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// The policy of the new tree; without it the caller's cgroup decides
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Option<String>,
    /// A file with a signed token that says whose tree it is
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Already the process that becomes the command; set by `gateway run` itself
    #[arg(long, hide = true)]
    pub(crate) in_place: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, num_args = 1.., value_name = "CMD ARG")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct LoginArguments {
    /// The issuer, by its name in the configuration; may be left out when there is only one
    #[arg(long, value_name = "NAME")]
    pub(crate) issuer: Option<String>,
    /// A file with the SAML response of an identity provider (XML, or base64 of it); - is standard
    /// input
    #[arg(long, value_name = "FILE|-", conflicts_with = "issuer")]
    pub(crate) saml: Option<PathBuf>,
    /// One JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SshSessionArguments {
    /// The policy of the connection; without it that of `[ssh] policy`
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Option<String>,
    /// When the daemon cannot be reached: refuse the login, or let it pass without the gateway
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = WhenDown::Refuse)]
    pub(crate) when_down: WhenDown,
}

/// What becomes of a login that nobody can take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WhenDown {
    Refuse,
    Allow,
}

#[derive(Debug, Args)]
pub(crate) struct LineageArguments {
    /// A process id, a tree (t…) or a session (s…)
    #[arg(value_name = "PID|TREE|SESSION")]
    pub(crate) target: String,
    /// One JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FilterArguments {
    /// Who; `*` matches any characters
    #[arg(long, value_name = "P")]
    pub(crate) principal: Option<String>,
    /// The tree (t…)
    #[arg(long, value_name = "T")]
    pub(crate) tree: Option<String>,
    /// The resource; `*` matches any characters
    #[arg(long, value_name = "R")]
    pub(crate) resource: Option<String>,
    /// The protocol
    #[arg(long, value_name = "P")]
    pub(crate) protocol: Option<String>,
    /// Not before: a time ago (2h, 30m, 7d) or an RFC 3339 time
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only of sessions that are open
    #[arg(long)]
    pub(crate) live: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SessionsArguments {
    #[command(flatten)]
    pub(crate) filter: FilterArguments,
    /// One JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ActsArguments {
    /// Who did it; `*` matches any characters
    #[arg(long, value_name = "P")]
    pub(crate) principal: Option<String>,
    /// What was done: approve, deny, kill, revoke …
    #[arg(long, value_name = "ACT")]
    pub(crate) act: Option<String>,
    /// To what; `*` matches any characters
    #[arg(long, value_name = "T")]
    pub(crate) target: Option<String>,
    /// Not before: a time ago (2h, 30m, 7d) or an RFC 3339 time
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// One JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogArguments {
    #[command(flatten)]
    pub(crate) filter: FilterArguments,
    /// A verb that the operation has
    #[arg(long, value_name = "V")]
    pub(crate) verb: Option<String>,
    /// The verdict
    #[arg(long, value_name = "V")]
    pub(crate) verdict: Option<String>,
    /// The statement holds this text, whatever its case
    #[arg(long, value_name = "TEXT")]
    pub(crate) grep: Option<String>,
    /// A sensitive field that was returned in the clear; `*` matches any characters
    #[arg(long, value_name = "FIELD")]
    pub(crate) disclosed: Option<String>,
    /// A field of which values were covered; `*` matches any characters
    #[arg(long, value_name = "FIELD")]
    pub(crate) masked: Option<String>,
    /// Goes on with what comes
    #[arg(long)]
    pub(crate) follow: bool,
    /// One JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// The session (s…)
    #[arg(value_name = "SESSION")]
    pub(crate) session: String,
    /// The session and then its operations, one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PlaybackArguments {
    /// The session (s…)
    #[arg(value_name = "SESSION")]
    pub(crate) session: String,
    /// How many times as fast as it was, from 0.01 to 1000
    #[arg(long, value_name = "N")]
    pub(crate) speed: Option<String>,
    /// The longest pause, in seconds
    #[arg(long, value_name = "S", default_value = "2")]
    pub(crate) max_idle: String,
    /// One JSON object per line, an event each
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct KillArguments {
    /// A session (s…) or a tree (t…)
    #[arg(value_name = "SESSION|TREE")]
    pub(crate) target: String,
    /// One JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ApprovalsArguments {
    /// Goes on with what comes and what is answered
    #[arg(long)]
    pub(crate) watch: bool,
    /// One JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) answer: Option<AnswerArguments>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AnswerArguments {
    /// Lets the operation pass
    Approve(AnswerOneArguments),
    /// Refuses the operation
    Deny(AnswerOneArguments),
}

#[derive(Debug, Args)]
pub(crate) struct AnswerOneArguments {
    /// The question
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Why; the client is told when it is a denial, and it is recorded
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// One JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArguments {
    /// Who, as in `gateway trees`: user:alice@acme.com, local:alice
    #[arg(value_name = "PRINCIPAL")]
    pub(crate) principal: String,
    /// Ends the processes of its trees too
    #[arg(long)]
    pub(crate) stop: bool,
    /// Takes a revocation back
    #[arg(long, conflicts_with = "stop")]
    pub(crate) undo: bool,
    /// One JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CredentialsArguments {
    /// Adds a credential, whose value is read from standard input
    #[command(
        after_help = "A password or a secret is asked for on a terminal; else all of standard \
                            input is the value, without the line break at its end. A certificate is \
                            PEM with the chain and the key."
    )]
    Add(AddCredentialArguments),
    /// Lists the credentials, without their values
    List(JsonArguments),
    /// Removes a credential
    Remove(RemoveCredentialArguments),
}

#[derive(Debug, Args)]
pub(crate) struct AddCredentialArguments {
    /// What policies and the configuration call it: a-z, 0-9, `.`, `_`, `-`
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Who logs in with it; without it whom the client names
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// What it is
    #[arg(long, value_name = "KIND", value_enum, default_value_t = CredentialKind::Password)]
    pub(crate) kind: CredentialKind,
    /// Puts it in the place of one that has the name
    #[arg(long)]
    pub(crate) replace: bool,
}

/// What a credential is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CredentialKind {
    Password,
    Certificate,
    Secret,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveCredentialArguments {
    /// Which one
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyArguments {
    /// Says what is wrong with policies, with file, line and column
    Check(PolicyPathArguments),
    /// Proves the cases that policies carry
    Test(PolicyPathArguments),
    /// Says which rules match, and why the verdict is what it is
    Explain(ExplainArguments),
    /// Judges what was recorded by a draft, and says what would change
    #[command(after_help = "Exit codes: 0 nothing would change, 1 something would.")]
    Replay(ReplayArguments),
    /// Writes a policy that allows what was recorded, and nothing else
    Learn(LearnArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArguments {
    /// Not before: a time ago (2h, 30m, 7d) or an RFC 3339 time
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// The policy of the draft that judges all of it; without it the one of the same name
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Option<String>,
    /// The draft: a policy file or a directory of them [default: the policy directory]
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<PathBuf>,
    /// One JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LearnArguments {
    /// Not before: a time ago (2h, 30m, 7d) or an RFC 3339 time
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only of sessions under this policy, whose name is taken over
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Option<String>,
    /// Only of this principal; `*` matches any characters
    #[arg(long, value_name = "P")]
    pub(crate) principal: Option<String>,
    /// Only of this tree (t…)
    #[arg(long, value_name = "T")]
    pub(crate) tree: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyPathArguments {
    /// A policy file or a directory of them [default: the policy directory]
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<PathBuf>,
    /// One JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// The policy's name; may be left out when there is only one
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Option<String>,
    /// Who
    #[arg(long, value_name = "P", default_value = "unknown")]
    pub(crate) principal: String,
    /// A group of that principal; may be given many times
    #[arg(long = "group", value_name = "GROUP")]
    pub(crate) groups: Vec<String>,
    /// How far the process is from the root of its tree
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) depth: u16,
    /// Where it goes
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) to: SocketAddr,
    /// A name that led there; may be given many times, what was asked for last first
    #[arg(long = "host", value_name = "NAME")]
    pub(crate) hosts: Vec<String>,
    /// The protocol of the statement
    #[arg(long, value_name = "P", default_value = "postgres")]
    pub(crate) protocol: String,
    /// A policy file or a directory of them [default: the policy directory]
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// The statement; without it the opening of a session is judged
    #[arg(value_name = "STATEMENT")]
    pub(crate) statement: Option<String>,
}
