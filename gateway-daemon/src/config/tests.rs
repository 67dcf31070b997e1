//! Every key, and every kind of mistake with its place.
use super::resolve::{load_from, parse};
use super::*;
use gateway_identity::Certificates;

fn parsed(text: &str) -> Result<Config, String> {
    parse(Path::new("/g.toml"), text).map_err(|error| error.to_string())
}

#[test]
fn an_empty_file_means_the_defaults() {
    let config = parsed("").unwrap();
    assert_eq!(
        config,
        Config {
            file: Some("/g.toml".into()),
            ..Config::default()
        }
    );
}

#[test]
fn every_key_is_taken() {
    let text = r#"
        state_dir = "/s"
        control_socket = "/r//c.sock"
        policy_dir = "/p/"
        [capture]
        cgroup_root = "/sys/fs/cgroup/unified/test"
        bpffs_dir = "/sys/fs/bpf/test"
        debug_log = true
        [dns]
        servers = "system"
        [limits]
        sessions = 7
        drain = "0s"
        dial = "3s"
        recognise = "150ms"
        opaque_idle = "1d"
        statement_bytes = "64KiB"
        parameter_bytes = 0
        processes = 5000
        control_connections = 9
        [recording]
        durability = "always"
        disk_full = "deny"
        [directory]
        file = "/etc/gateway/directory.toml"
        [identity]
        ci_variables = ["gitlab", "github"]
        [control]
        listen = "127.0.0.1:7433"
        certificate = "/etc/gateway/tls.pem"
        key = "/etc/gateway/tls.key"
        url = "https://gateway.acme.com/"
        scim_token_file = "/etc/gateway/scim.token"
        roles = { admin = ["group:platform"], viewer = ["user:*"] }
        [[issuer]]
        name = "github"
        url = "https://token.actions.githubusercontent.com"
        audience = "gateway"
        principal = "ci:github:{repository}@{ref}"
        environment = "GATEWAY_ID_TOKEN"
        client_id = "gateway-cli"
        [[saml]]
        name = "acme"
        entity_id = "https://idp.acme.com/metadata"
        certificate = ["/etc/gateway/idp.pem", "/etc/gateway/idp-next.pem"]
        audience = "https://gateway.acme.com/saml"
        principal = "user:{email}"
        [[webhook]]
        url = "https://chat.internal/hook"
        form = "slack"
        secret_file = "/etc/gateway/hook.secret"
        [[webhook]]
        url = "http://127.0.0.1:8080/hook"
        secret = "approvals-hook"
        [credentials]
        file = "/c/store"
        key_file = "/k/key"
        [ssh]
        daemons = ["/usr/local/sbin/sshd"]
        principal = "user:{user}@acme.com"
        certificates = "key-id"
        policy = "people"
        "#;
    let config = parsed(text).unwrap();
    let mut places = text
        .match_indices("[[webhook]]")
        .map(|(offset, _)| Place::of(text, offset));
    let mut webhook = |url: &str, form, secret| Webhook {
        url: WebhookUrl::parse(url).unwrap(),
        form,
        secret,
        place: places.next().unwrap(),
    };
    let expected = Config {
        file: Some("/g.toml".into()),
        state_dir: "/s".into(),
        control_socket: "/r/c.sock".into(),
        policy_dir: "/p".into(),
        cgroup_root: Some("/sys/fs/cgroup/unified/test".into()),
        bpffs_dir: "/sys/fs/bpf/test".into(),
        debug_log: true,
        durability: Duration::ZERO,
        dns_servers: None,
        limits: Limits {
            sessions: 7,
            drain: Duration::ZERO,
            dial: Duration::from_secs(3),
            recognise: Duration::from_millis(150),
            opaque_idle: Some(Duration::from_secs(86_400)),
            statement_bytes: 65_536,
            parameter_bytes: 0,
            processes: 5000,
            control_connections: 9,
            ..Limits::default()
        },
        directory: Some("/etc/gateway/directory.toml".into()),
        issuers: vec![IssuerConfig {
            name: "github".into(),
            url: "https://token.actions.githubusercontent.com".into(),
            audience: "gateway".into(),
            principal: "ci:github:{repository}@{ref}".into(),
            groups: "groups".into(),
            environment: Some("GATEWAY_ID_TOKEN".into()),
            client_id: Some("gateway-cli".into()),
            unverified_email: false,
        }],
        saml: vec![SamlConfig {
            name: "acme".into(),
            entity_id: "https://idp.acme.com/metadata".into(),
            certificate: Some(Certificates::Several(vec![
                "/etc/gateway/idp.pem".into(),
                "/etc/gateway/idp-next.pem".into(),
            ])),
            metadata: None,
            audience: "https://gateway.acme.com/saml".into(),
            recipient: None,
            principal: "user:{email}".into(),
            groups: "groups".into(),
        }],
        ci_variables: vec![CiSystem::Gitlab, CiSystem::Github],
        webhooks: vec![
            webhook(
                "https://chat.internal/hook",
                Form::Slack,
                WebhookSecret::File("/etc/gateway/hook.secret".into()),
            ),
            webhook(
                "http://127.0.0.1:8080/hook",
                Form::Json,
                WebhookSecret::Stored("approvals-hook".parse().unwrap()),
            ),
        ],
        credentials: Credentials {
            file: "/c/store".into(),
            key_file: "/k/key".into(),
        },
        roles: Roles {
            admin: vec!["group:platform".into()],
            viewer: vec!["user:*".into()],
            ..Roles::default()
        },
        ssh: Ssh {
            daemons: vec!["/usr/local/sbin/sshd".into()],
            principal: "user:{user}@acme.com".to_owned(),
            by_key_id: true,
            policy: Some("people".to_owned()),
        },
        remote: Some(Remote {
            listen: "127.0.0.1:7433".parse().unwrap(),
            certificate: "/etc/gateway/tls.pem".into(),
            key: "/etc/gateway/tls.key".into(),
            url: "https://gateway.acme.com".into(),
            sign_in: Some("github".into()),
            scim_token_file: Some("/etc/gateway/scim.token".into()),
        }),
    };
    assert_eq!(config, expected);
    assert_eq!(
        parsed("[capture]\ncgroup_root = \"auto\"")
            .unwrap()
            .cgroup_root,
        None
    );
    let defaults = parsed("[recording]\ndurability = \"250ms\"").unwrap();
    assert_eq!(defaults.durability, Duration::from_millis(250));
}

#[test]
fn every_mistake_is_named_with_its_place() {
    let cases = [
        ("stat_dir = \"/s\"", "/g.toml:1:1: unknown field `stat_dir`"),
        (
            "[capture]\n  cgroup = \"x\"",
            "/g.toml:2:3: unknown field `cgroup`",
        ),
        (
            "[limits]\nsesions = 1",
            "/g.toml:2:1: unknown field `sesions`",
        ),
        ("[captur]\n", "/g.toml:1:2: unknown field `captur`"),
        (
            "state_dir = 5",
            "/g.toml:1:13: invalid type: integer `5`, expected a string",
        ),
        (
            "state_dir = \"s\"",
            "/g.toml:1:13: state_dir: expected an absolute path",
        ),
        (
            "state_dir = \"/a/../b\"",
            "/g.toml:1:13: state_dir: expected an absolute path",
        ),
        (
            "[control]\nlisten = \"localhost\"",
            "/g.toml:2:10: control.listen: expected an address",
        ),
        (
            "[control]\nlisten = \"127.0.0.1:1\"",
            "/g.toml:2:10: control.listen: expected control.certificate",
        ),
        (
            "[control]\nkey = \"/k\"",
            "/g.toml:2:7: control.key: expected control.listen beside it",
        ),
        (
            "[identity]\nci_variables = [\"travis\"]",
            "/g.toml:2:17: unknown variant `travis`, expected one of `github`, `gitlab`",
        ),
        (
            "[control]\nsign_in = \"acme\"",
            "/g.toml:2:11: control.sign_in: expected control.listen beside it",
        ),
        (
            "[control]\nlisten = \"127.0.0.1:1\"\ncertificate = \"/c\"\nkey = \"/k\"\n\
             url = \"https://gateway.acme.com/below\"",
            "/g.toml:5:7: control.url: expected scheme, host and port alone",
        ),
        (
            "[control]\nlisten = \"127.0.0.1:1\"\ncertificate = \"/c\"\nkey = \"/k\"\n\
             sign_in = \"acme\"",
            "/g.toml:5:11: control.sign_in: expected the name of an issuer with client_id",
        ),
        (
            "[directory]\nfile = \"users.toml\"",
            "/g.toml:2:8: directory.file: expected an absolute path",
        ),
        (
            "\n[[issuer]]\nname = \"a\"\nurl = \"https://a\"\naudience = \"g\"\nprincipal = \"{sub}\"",
            "/g.toml:2:1: ",
        ),
        (
            "\n[[saml]]\nname = \"a\"\nentity_id = \"e\"\ncertificate = \"idp.pem\"\naudience = \"g\"\n\
             principal = \"user:{name_id}\"",
            "/g.toml:2:1: saml.certificate, saml.metadata: expected an absolute path",
        ),
        (
            "[[saml]]\nname = \"a\"\nentity_id = \"e\"\ncertificate = \"/idp.pem\"\naudience = \"g\"\n\
             principal = \"{name_id}\"",
            "/g.toml:1:1: saml \"a\": `principal`: it must begin with a kind",
        ),
        (
            "[[issuer]]\nname = \"e\"\nurl = \"https://a\"\naudience = \"g\"\nprincipal = \"x:{sub}\"\n\
             [[saml]]\nname = \"a\"\nentity_id = \"e\"\ncertificate = \"/idp.pem\"\naudience = \"g\"\n\
             principal = \"user:{name_id}\"",
            "/g.toml:6:1: saml \"a\": an [[issuer]] is called \"e\"",
        ),
        (
            "[[webhook]]\nurl = \"https://x\"",
            "/g.toml:1:1: webhook.secret is missing",
        ),
        (
            "[[webhook]]\nurl = \"https://x\"\nsecret_file = \"hook.secret\"",
            "/g.toml:3:15: webhook.secret_file: expected an absolute path",
        ),
        (
            "[[webhook]]\nurl = \"https://x\"\nsecret = \"s\"\nsecret_file = \"/s\"",
            "/g.toml:4:15: webhook.secret_file: webhook.secret is there too",
        ),
        (
            "[[webhook]]\nurl = \"https://x\"\nsecret = \"My Secret\"",
            "/g.toml:3:10: webhook.secret: not a name of a credential",
        ),
        (
            "[[webhook]]\nurl = \"http://chat.internal\"\nsecret = \"s\"",
            "/g.toml:1:1: webhook url: ",
        ),
        (
            "[credentials]\nfile = \"store\"",
            "/g.toml:2:8: credentials.file: expected an absolute path",
        ),
        (
            "[credentials]\nkey = \"/k\"",
            "/g.toml:2:1: unknown field `key`",
        ),
        (
            "state_dir = \"/\"",
            "/g.toml:1:13: state_dir: expected an absolute path",
        ),
        (
            "policy_dir = \"\"",
            "/g.toml:1:14: policy_dir: expected an absolute path",
        ),
        (
            "control_socket = \"/a\\u0000b\"",
            "/g.toml:1:18: control_socket: expected",
        ),
        ("a = \n", "/g.toml:1:5: "),
        (
            "state_dir = \"/a\"\nstate_dir = \"/b\"",
            "/g.toml:2:1: duplicate key",
        ),
        (
            "[limits]\nsessions = 0",
            "/g.toml:2:12: limits.sessions: expected a number from 1",
        ),
        (
            "[limits]\nsessions = -1",
            "/g.toml:2:12: limits.sessions: expected a number",
        ),
        (
            "[limits]\nsessions = \"many\"",
            "/g.toml:2:12: limits.sessions: expected a number",
        ),
        (
            "[limits]\nsessions = true",
            "/g.toml:2:12: expected a number, or a text such as",
        ),
        (
            "[limits]\nsessions = 99999999999999999999",
            "/g.toml:2:12: ",
        ),
        (
            "[limits]\ndrain = \"5\"",
            "/g.toml:2:9: limits.drain: \"5\" is not a duration",
        ),
        (
            "[limits]\ndrain = 5",
            "/g.toml:2:9: limits.drain: expected a text such as \"5s\"",
        ),
        (
            "[limits]\ndrain = \"2d\"",
            "/g.toml:2:9: limits.drain: expected 0ms to 1d",
        ),
        (
            "[limits]\ndial = \"0s\"",
            "/g.toml:2:8: limits.dial: expected 1ms to 1h",
        ),
        (
            "[limits]\nopaque_idle = \"0s\"",
            "/g.toml:2:15: limits.opaque_idle: expected 1s to 30d",
        ),
        (
            "[limits]\nstatement_bytes = 5",
            "/g.toml:2:19: limits.statement_bytes: expected 1024",
        ),
        (
            "[limits]\nstatement_bytes = \"5 MB\"",
            "/g.toml:2:19: limits.statement_bytes: expected",
        ),
        (
            "[limits]\nbind_bytes = -1",
            "/g.toml:2:14: limits.bind_bytes: expected 1024",
        ),
        (
            "[limits]\nbind_bytes = []",
            "/g.toml:2:14: expected a number, or a text such as",
        ),
        (
            "[capture]\ncgroup_root = \"unified\"",
            "/g.toml:2:15: capture.cgroup_root: expected",
        ),
        (
            "[recording]\ndurability = \"now\"",
            "/g.toml:2:14: recording.durability: \"now\"",
        ),
        (
            "[recording]\ndurability = \"0s\"",
            "/g.toml:2:14: recording.durability: expected 1ms to 1m; or",
        ),
        (
            "[recording]\ndisk_full = \"drop\"",
            "/g.toml:2:13: recording.disk_full: \"drop\"",
        ),
        (
            "[ssh]\ndaemons = []",
            "/g.toml:2:11: ssh.daemons: expected the paths",
        ),
        (
            "[ssh]\ndaemons = [\"/usr/sbin/sshd\", \"sshd\"]",
            "/g.toml:2:30: ssh.daemons: expected an absolute path",
        ),
        (
            "[ssh]\nprincipal = \"user:{login}\"",
            "/g.toml:2:13: ssh.principal: {login} is not known",
        ),
        (
            "[ssh]\nprincipal = \"ssh-cert:{user}\"",
            "/g.toml:2:13: ssh.principal: names that begin with",
        ),
        (
            "[ssh]\ncertificates = \"always\"",
            "/g.toml:2:16: ssh.certificates: \"always\" (expected",
        ),
        (
            "[ssh]\npolicy = \"\"",
            "/g.toml:2:10: ssh.policy: expected the name",
        ),
        (
            "[dns]\nserver = \"system\"",
            "/g.toml:2:1: unknown field `server`",
        ),
        (
            "[dns]\nservers = \"none\"",
            "/g.toml:2:11: dns.servers: \"none\" (expected \"system\", or a list of addresses)",
        ),
        (
            "[dns]\nservers = [\"ns.internal\"]",
            "/g.toml:2:11: expected \"system\", or a list of addresses",
        ),
    ];
    for (text, expected) in cases {
        let message = parsed(text).unwrap_err();
        assert!(
            message.starts_with(expected),
            "{text:?}\n  {message}\n  {expected}"
        );
    }
}

#[test]
fn name_servers_can_be_listed() {
    let servers = |text: &str| parsed(text).unwrap().dns_servers;
    assert_eq!(servers("[dns]\nservers = \"system\""), None);
    assert_eq!(
        servers("[dns]\nservers = [\"10.0.0.2\", \"::ffff:10.0.0.3\", \"fd00::2\"]"),
        Some(vec![
            "10.0.0.2".parse().unwrap(),
            "10.0.0.3".parse().unwrap(),
            "fd00::2".parse().unwrap()
        ])
    );
}

#[test]
fn what_is_known_but_not_built_is_refused_by_name() {
    let cases = [
        (
            "[recording]\nretention = { days = 90 }",
            "recording.retention",
        ),
        (
            "[recording]\ndisk_full = \"oldest\"",
            "recording.disk_full = \"oldest\"",
        ),
    ];
    for (text, name) in cases {
        let message = parsed(text).unwrap_err();
        let expected = format!("{name}: known, but not built in this version");
        assert!(
            message.starts_with("/g.toml:") && message.ends_with(&expected),
            "{message}"
        );
    }
}

#[test]
fn a_named_file_must_be_there_and_the_default_need_not() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.toml");
    assert_eq!(load_from(None, &missing), Ok(Config::default()));
    assert!(matches!(
        load_from(Some(&missing), &missing),
        Err(ConfigError::Unreadable { .. })
    ));
    assert!(
        load_from(Some(directory.path()), &missing).is_err(),
        "a directory"
    );
    let file = directory.path().join("g.toml");
    std::fs::write(&file, [0xff, 0xfe]).unwrap();
    assert!(
        load_from(None, &file).is_err(),
        "what is there must be good"
    );
    std::fs::write(&file, "#".repeat(2 * 1024 * 1024)).unwrap();
    assert!(load_from(Some(&file), &missing).is_err(), "too large");
    std::fs::write(&file, "state_dir = \"/x\"").unwrap();
    assert_eq!(
        load_from(Some(&file), &missing).unwrap().state_dir,
        Path::new("/x")
    );
}

#[test]
fn every_limit_is_shown_under_its_key() {
    let shown = Limits::default().shown();
    let text: String = shown
        .iter()
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect();
    let config = parsed(&format!("[limits]\n{text}")).unwrap();
    assert_eq!(
        config.limits,
        Limits::default(),
        "what status shows can be written back"
    );
    assert_eq!(shown["opaque_idle"], "never");
    assert_eq!(shown["drain"], "5s");
}

#[test]
fn the_reference_has_every_limit_and_no_other() {
    let reference = include_str!("../../../docs/configuration.md");
    let table = reference.split("| Key of `[limits]` |").nth(1).unwrap();
    let table = table.split("\n\n").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut documented = std::collections::BTreeMap::new();
    for row in rows {
        let mut cells = row.split('|').map(|cell| cell.trim().trim_matches('`'));
        documented.insert(cells.next().unwrap(), cells.next().unwrap());
    }
    let shown = Limits::default().shown();
    assert!(
        documented.keys().eq(shown.keys()),
        "{documented:?}\n{shown:?}"
    );
    let text: String = documented
        .iter()
        .map(|(key, value)| match value.parse::<u64>() {
            Ok(number) => format!("{key} = {number}\n"),
            Err(_) => format!("{key} = \"{value}\"\n"),
        })
        .collect();
    let written = parsed(&format!("[limits]\n{text}")).unwrap();
    assert_eq!(
        written.limits,
        Limits::default(),
        "the documented defaults are the defaults"
    );
}
