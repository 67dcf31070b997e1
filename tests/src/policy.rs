//! The policies that tests start from. Each governs `jobs/**` in the subtree of the test.
use crate::Subtree;
use std::fmt::Write;

/// A policy in enforce whose only resource is the PostgreSQL `db` at 127.0.0.1 and this port, with
/// these rules.
#[must_use]
pub fn with_rules(subtree: &Subtree, port: u16, rules: &str) -> String {
    let mut text = header(subtree);
    let _ = write!(
        text,
        "\n[[resource]]\nname = \"db\"\nprotocol = \"postgres\"\n\
         hosts = [\"127.0.0.1\"]\nports = [{port}]\n\n{rules}"
    );
    text
}

/// Everything is allowed on `db`, also what cannot be classified.
#[must_use]
pub fn allow_all(subtree: &Subtree, port: u16) -> String {
    with_rules(subtree, port, ALLOW_ALL)
}

/// No rule at all: denies everything.
#[must_use]
pub fn deny_all(subtree: &Subtree) -> String {
    header(subtree)
}

/// The rule that lets everything pass on `db`.
pub const ALLOW_ALL: &str = "\
[[rule]]
name = \"everything\"
resources = [\"db\"]
verbs = [\"*\", \"unknown\"]
verdict = \"allow\"
";

/// Reading and writing on `db`, while structure stays as it is and nothing is deleted.
pub const READ_WRITE: &str = "\
[[rule]]
name = \"read and write\"
resources = [\"db\"]
verbs = [\"connect\", \"authenticate\", \"read\", \"write\"]
verdict = \"allow\"

[[rule]]
name = \"nobody drops\"
resources = [\"db\"]
verbs = [\"define\", \"delete\"]
verdict = \"deny\"
message = \"Schema changes go through migrations\"
";

/// A policy that lets opaque flows pass to one address and port, and nothing else.
#[must_use]
pub fn opaque_to(subtree: &Subtree, host: &str, port: u16) -> String {
    format!(
        "{}\n[[resource]]\nname = \"sink\"\nhosts = [\"{host}\"]\nports = [{port}]\n\n\
         [[rule]]\nname = \"opaque flows\"\nresources = [\"sink\"]\n\
         verbs = [\"connect\", \"unknown\"]\nverdict = \"allow\"\n",
        header(subtree)
    )
}

/// A policy that lets everything pass everywhere, and names nothing; `keys` are more of `[policy]`.
#[must_use]
pub fn opaque_anywhere(subtree: &Subtree, keys: &str) -> String {
    format!(
        "{}{keys}\n[[rule]]\nname = \"everything\"\nverbs = [\"*\", \"unknown\"]\nverdict = \"allow\"\n",
        header(subtree)
    )
}

fn header(subtree: &Subtree) -> String {
    format!(
        "[policy]\nname = \"test\"\ncgroups = [\"{}/jobs/**\"]\nmode = \"enforce\"\n\
         default = \"deny\"\n",
        subtree.name()
    )
}
