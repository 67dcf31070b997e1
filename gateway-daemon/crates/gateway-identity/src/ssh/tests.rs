//! The keys were made with ssh-keygen 9.2, which also said the fingerprints.
use super::*;
use proptest::prelude::*;

/// A key.
const PLAIN: &str = "\
    ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIfKI9emDIJgwI/GSB4z9m7eb9dxGmIiXIeEOo94u4GT";
/// The same with a certificate of the key id `alice@acme.com`.
const USER_CERTIFICATE: &str = "\
    ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29tAAAAIE+\
    HA3qvHeAIGvxah8Aa94vigWuIVu4UhmHruBKcnQ03AAAAIIfKI9emDIJgwI/GSB4z9m7eb9dxGmIiXIeEOo94u4G\
    TAAAAAAAAAAAAAAABAAAADmFsaWNlQGFjbWUuY29tAAAACQAAAAVhbGljZQAAAAAAAAAA//////////8AAAAAAAA\
    AggAAABVwZXJtaXQtWDExLWZvcndhcmRpbmcAAAAAAAAAF3Blcm1pdC1hZ2VudC1mb3J3YXJkaW5nAAAAAAAAABZ\
    wZXJtaXQtcG9ydC1mb3J3YXJkaW5nAAAAAAAAAApwZXJtaXQtcHR5AAAAAAAAAA5wZXJtaXQtdXNlci1yYwAAAAA\
    AAAAAAAAAMwAAAAtzc2gtZWQyNTUxOQAAACD5V4/7xAueKZtDUyNbKRoL5kK0yHtnnggUXcLHqb0B9QAAAFMAAAA\
    Lc3NoLWVkMjU1MTkAAABAPpSNoP1MZsnGmmMthcCro6K3yiQyAArep9Gr2+VCTy7f+nhKN5SqNDfrrjeL9tuNuQx\
    cpAIiZVB5U575psM/Aw==";
/// The same with that of a host.
const HOST_CERTIFICATE: &str = "\
    ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29tAAAAIEu\
    86/9nH2RPjCqmtp+2kMWr7UIoZmDP7QEo4xmMg3+8AAAAIIfKI9emDIJgwI/GSB4z9m7eb9dxGmIiXIeEOo94u4G\
    TAAAAAAAAAAAAAAACAAAABGhvc3QAAAAAAAAAAAAAAAD//////////wAAAAAAAAAAAAAAAAAAADMAAAALc3NoLWV\
    kMjU1MTkAAAAg+VeP+8QLnimbQ1MjWykaC+ZCtMh7Z54IFF3Cx6m9AfUAAABTAAAAC3NzaC1lZDI1NTE5AAAAQMz\
    zZiMnCSwLFQ5c07fgM13yUEaCFc506wcu1Sa0VtajbedBVxET7WyPuRCKzaBSMXUcOZQJJ7Q5MZIwj3CmOwc=";
/// An ECDSA key whose key id is `bob:x`, a line feed and `*`.
const ODD_CERTIFICATE: &str = "\
    ecdsa-sha2-nistp256-cert-v01@openssh.com AAAAKGVjZHNhLXNoYTItbmlzdHAyNTYtY2VydC12MDFAb3B\
    lbnNzaC5jb20AAAAgAxdLilQkaLxGEBiPN24bTqhOz6fjfttRS8RYfNhl9xQAAAAIbmlzdHAyNTYAAABBBKz4thA\
    XhKqGUoQhSgxkU67o83CPLLTAo1zfhnkk56UWl+crR/nQSvVObaQjP+hlnLVSRgStpBsGyDb1JWuVyPQAAAAAAAA\
    AAAAAAAEAAAAHYm9iOngKKgAAAAkAAAAFYWxpY2UAAAAAAAAAAP//////////AAAAAAAAAIIAAAAVcGVybWl0LVg\
    xMS1mb3J3YXJkaW5nAAAAAAAAABdwZXJtaXQtYWdlbnQtZm9yd2FyZGluZwAAAAAAAAAWcGVybWl0LXBvcnQtZm9\
    yd2FyZGluZwAAAAAAAAAKcGVybWl0LXB0eQAAAAAAAAAOcGVybWl0LXVzZXItcmMAAAAAAAAAAAAAADMAAAALc3N\
    oLWVkMjU1MTkAAAAg+VeP+8QLnimbQ1MjWykaC+ZCtMh7Z54IFF3Cx6m9AfUAAABTAAAAC3NzaC1lZDI1NTE5AAA\
    AQPsZZ4YvfuOL+j3OAyZY1tr1x+Yqp86DmN8Vh5srnC10AZf1dTz6nrxCe2atvWv8jwcRder85Lz3E2GnBPTp+Qk\
    =";
const PLAIN_PRINT: &str = "SHA256:vPKKx8AihYgJVNUL2ysn/zTUxm1dHkcKe8JNBcwcbAs";
const ODD_PRINT: &str = "SHA256:BQwvoq/6Cp8N6BCpfIQfaBkTG2JWMrQn3EBAJSvm0NM";
const AUTHORITY: &str = "SHA256:L+hq++EUhKhBZtKcRJpAbZvbteu6pxPG8sBkJrZKJnU";

fn read(auth_info: &str) -> Result<SshLogin, SshError> {
    SshLogin::read("alice", auth_info)
}

fn publickey(key: &str) -> String {
    format!("publickey {key}\n")
}

fn certificate(key_id: &str, fingerprint: &str) -> Option<SshKey> {
    Some(SshKey::Certificate {
        key_id: key_id.to_owned(),
        fingerprint: fingerprint.to_owned(),
        authority: AUTHORITY.to_owned(),
    })
}

#[test]
fn what_sshd_says_is_read() {
    let plain = Some(SshKey::Plain {
        fingerprint: PLAIN_PRINT.to_owned(),
    });
    let cases = [
        (publickey(PLAIN), vec![("publickey", plain.clone())]),
        (
            publickey(USER_CERTIFICATE),
            vec![("publickey", certificate("alice@acme.com", PLAIN_PRINT))],
        ),
        (
            publickey(ODD_CERTIFICATE),
            vec![("publickey", certificate("bob:x\n*", ODD_PRINT))],
        ),
        ("password\n".to_owned(), vec![("password", None)]),
        (
            format!("{}keyboard-interactive/pam\n", publickey(PLAIN)),
            vec![("publickey", plain), ("keyboard-interactive/pam", None)],
        ),
        // The certificate of a host says nothing about who is at work there.
        (
            format!("hostbased {USER_CERTIFICATE} client user \"x\", client host \"y\"\n"),
            vec![("hostbased", None)],
        ),
    ];
    for (text, expected) in cases {
        let login = read(&text).unwrap();
        let found = login.methods().iter();
        let found: Vec<_> = found
            .map(|method| (method.name.as_str(), method.key.clone()))
            .collect();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn what_sshd_does_not_say_is_refused() {
    let line = |line, expected| SshError::Line { line, expected };
    let key = "expected the kind of the key and the key";
    let base64 = "expected the key in base64";
    let kind = "expected a key of the kind that stands before it";
    let method = "expected the name of a method";
    let cut_certificate = USER_CERTIFICATE.get(..USER_CERTIFICATE.len() - 8).unwrap();
    let (_, blob) = PLAIN.split_once(' ').unwrap();
    let cases = [
        (String::new(), SshError::NoMethod),
        ("password".to_owned(), SshError::Cut),
        ("\n".to_owned(), line(1, method)),
        ("password\n\n".to_owned(), line(2, method)),
        ("none\n".to_owned(), SshError::Unauthenticated),
        (format!("{}\n", "x".repeat(65)), line(1, method)),
        ("pass\u{7f}word\n".to_owned(), line(1, method)),
        ("publickey\n".to_owned(), line(1, key)),
        ("publickey ssh-ed25519\n".to_owned(), line(1, key)),
        ("publickey ssh-ed25519 ?\n".to_owned(), line(1, base64)),
        ("publickey ssh-ed25519 AAAA\n".to_owned(), line(1, kind)),
        ("publickey ssh-ed25519 /////w==\n".to_owned(), line(1, kind)),
        (format!("publickey ssh-rsa {blob}\n"), line(1, kind)),
        // A key is not made a certificate by what stands before it.
        (
            format!("publickey ssh-ed25519-cert-v01@openssh.com {blob}\n"),
            line(1, kind),
        ),
        (
            publickey(HOST_CERTIFICATE),
            line(1, "expected the certificate of a user, not of a host"),
        ),
        (
            publickey(cut_certificate),
            line(1, "expected a certificate"),
        ),
        ("password\n".repeat(17), SshError::TooMany),
        (
            "x".repeat(AUTH_INFO_BYTES_MAX + 1),
            SshError::TooLarge(AUTH_INFO_BYTES_MAX + 1),
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(read(&text), Err(expected), "{text:?}");
    }
    let long = "x".repeat(USER_BYTES_MAX + 1);
    for user in ["", "a\nb", "\u{85}", &long] {
        assert_eq!(SshLogin::read(user, "password\n"), Err(SshError::User));
    }
}

#[test]
fn logins_become_principals() {
    let both = format!(
        "{}{}",
        publickey(USER_CERTIFICATE),
        publickey(ODD_CERTIFICATE)
    );
    let key = publickey(PLAIN);
    let certificate = publickey(USER_CERTIFICATE);
    let odd = publickey(ODD_CERTIFICATE);
    let cases = [
        ("user:{user}", false, &key, Ok("user:alice")),
        (
            "user:{user}@acme.com",
            false,
            &key,
            Ok("user:alice@acme.com"),
        ),
        ("user:{user}", false, &certificate, Ok("user:alice")),
        ("user:{user}", false, &both, Ok("user:alice")),
        (
            "user:{user}",
            true,
            &certificate,
            Ok("ssh-cert:alice@acme.com"),
        ),
        ("user:{user}", true, &odd, Ok("ssh-cert:bob%3Ax%0A%2A")),
        ("user:{user}", true, &key, Ok("user:alice")),
        ("user:{user}", true, &both, Err(SshError::TwoKeyIds)),
        (
            "user:{key_id}",
            false,
            &certificate,
            Ok("user:alice@acme.com"),
        ),
        ("user:{key_id}", false, &odd, Ok("user:bob%3Ax%0A%2A")),
        ("user:{key_id}", false, &key, Err(SshError::NoCertificate)),
        ("user:{key_id}", true, &key, Err(SshError::NoCertificate)),
        ("user:{key_id}", false, &both, Err(SshError::TwoKeyIds)),
        (
            "ssh:{user}/{key_id}",
            false,
            &certificate,
            Ok("ssh:alice/alice@acme.com"),
        ),
    ];
    for (template, by_key_id, text, expected) in cases {
        let names = SshNames::new(template, by_key_id).unwrap();
        let principal = names.principal(&read(text).unwrap());
        let id = principal.as_ref().map(|principal| &*principal.id);
        assert_eq!(
            id,
            expected.as_ref().copied(),
            "{template} {by_key_id} {text}"
        );
        if let Ok(principal) = principal {
            assert_eq!(principal.assurance, Assurance::Verified);
        }
    }
}

#[test]
fn templates_are_checked() {
    let reserved = TemplateError::Reserved("ssh-cert:");
    let cases = [
        ("user:{name}", SshTemplateError::Claim("name".to_owned())),
        (
            "user:all",
            SshTemplateError::Template(TemplateError::Constant),
        ),
        ("{user}", SshTemplateError::Template(TemplateError::Kind)),
        ("ssh-cert:{user}", SshTemplateError::Template(reserved)),
    ];
    for (template, expected) in cases {
        assert_eq!(SshNames::new(template, true), Err(expected), "{template}");
    }
}

#[test]
fn the_journal_gets_one_line() {
    let login = SshLogin::read("alice", &publickey(ODD_CERTIFICATE)).unwrap();
    assert_eq!(
        login.to_string(),
        format!(
            "user alice, publickey {ODD_PRINT} certificate \"bob:x\\n*\" of authority {AUTHORITY}"
        )
    );
}

proptest! {
    /// Whatever is said: it is an answer, and never somebody else's name.
    #[test]
    fn nothing_that_is_said_breaks_it(
        user in "\\PC{1,40}",
        text in "(publickey |password|none)?[ -~\n]{0,200}\n",
    ) {
        if let Ok(login) = SshLogin::read(&user, &text) {
            let names = SshNames::new("user:{user}@acme", true).unwrap();
            let principal = names.principal(&login).unwrap();
            prop_assert!(principal.id.starts_with("user:") && principal.id.ends_with("@acme"));
            prop_assert_eq!(principal.id.matches('@').count(), 1);
            prop_assert!(!login.to_string().contains(char::is_control));
        }
    }

    /// A certificate of which any byte is another one is refused, or is still one of a user.
    #[test]
    fn a_damaged_certificate_does_not_break_it(at in 0_usize..500, byte in any::<u8>()) {
        let (kind, blob) = USER_CERTIFICATE.split_once(' ').unwrap();
        let mut blob = STANDARD.decode(blob).unwrap();
        let at = at % blob.len();
        blob[at] = byte;
        let text = format!("publickey {kind} {}\n", STANDARD.encode(blob));
        let _ = read(&text);
    }
}
