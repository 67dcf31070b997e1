//! `tls` and `credential` of a `[[resource]]`: the way to it.
use crate::diagnostic::quoted;
use crate::network::is_host_name;
use crate::reader::{Located, Reader, Section, Value};
use crate::schema::{Form, Key};
use gateway_core::{ClientTls, LinkTerms, UpstreamTls};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

/// The keys of `tls`.
pub(crate) const TLS_KEYS: [Key; 4] = [
    Key::new(
        "upstream",
        Form::UpstreamTls,
        "How the upstream is spoken to; by default verify-full where it offers TLS",
    ),
    Key::new(
        "ca",
        Form::Path,
        "A PEM file of the authorities that are believed; by default the system's",
    ),
    Key::new(
        "name",
        Form::Name,
        "The name or address that the upstream's certificate has to be for",
    ),
    Key::new(
        "client",
        Form::ClientTls,
        "What a client is answered that asks for TLS; by default what the upstream answers",
    ),
];

const TLS: &str = "{ upstream = \"verify-full\", ca = \"/etc/gateway/ca/db.pem\" }";
const CA: &str = "the absolute path of a PEM file";
const NAME: &str = "a host name like \"orders.db.internal\", or an address";
const CREDENTIAL: &str = "the name of a credential like \"orders-ci\" (`gateway credentials list`)";

/// `None` where the resource says nothing about it.
pub(super) fn read(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<LinkTerms> {
    let tls = section.get("tls");
    let credential = section.get("credential");
    if tls.is_none() && credential.is_none() {
        return None;
    }
    let mut terms = match tls.and_then(|value| reader.table("tls", value, TLS)) {
        Some(table) => read_tls(reader, &table),
        None => LinkTerms::default(),
    };
    if terms.client == ClientTls::Opaque {
        refuse_unseen(reader, section);
    }
    check_together(reader, &terms, tls, credential);
    terms.credential = credential.and_then(|value| read_credential(reader, value));
    if terms.credential.is_some() && terms.upstream == UpstreamTls::WhereOffered {
        // What the job must not see is not sent to whoever answers in the upstream's place.
        terms.upstream = UpstreamTls::VerifyFull;
    }
    Some(terms)
}

/// What is each fine by itself, and gives more away together than it says.
fn check_together(
    reader: &mut Reader<'_>,
    terms: &LinkTerms,
    tls: Option<&Value<'_>>,
    credential: Option<&Value<'_>>,
) {
    if let (UpstreamTls::Require, Some(value)) = (terms.upstream, credential) {
        let message = "`credential` beside `upstream = \"require\"`: anybody could answer there";
        reader.error(value.span(), message, "`upstream` as \"verify-full\"");
    }
    let Some(tls) = tls else { return };
    if terms.upstream == UpstreamTls::VerifyCa && terms.authorities.is_none() {
        let message = "`upstream` is \"verify-ca\" without `ca`: whoever has a certificate for \
                       any name could answer there";
        reader.error(
            tls.span(),
            message,
            "`ca`, or `upstream` as \"verify-full\"",
        );
    }
    if terms.client == ClientTls::Offer && terms.upstream == UpstreamTls::WhereOffered {
        let message = "`client` is \"offer\" without `upstream`: a client that insists on TLS \
                       would not learn that there is none behind the gateway";
        reader.error(
            tls.span(),
            message,
            "`upstream`, as \"disable\" or \"verify-full\"",
        );
    }
}

/// Inside of a TLS that goes through, nobody sees what is spoken, nor can log in.
fn refuse_unseen(reader: &mut Reader<'_>, section: &Section<'_>) {
    for (key, cannot) in [
        ("protocol", "be seen to be spoken"),
        ("credential", "be used"),
    ] {
        if let Some(value) = section.get(key) {
            let message =
                format!("`{key}` cannot {cannot} inside of TLS that the gateway does not end");
            reader.error(value.span(), message, "no `client = \"opaque\"` in `tls`");
        }
    }
}

fn read_tls(reader: &mut Reader<'_>, table: &Section<'_>) -> LinkTerms {
    reader.check_keys(table, &TLS_KEYS);
    let upstream = table.get("upstream").and_then(|value| {
        let words = UpstreamTls::NAMED.map(|mode| (mode.word(), mode));
        reader.word("upstream", value, &words)
    });
    let client = table.get("client").and_then(|value| {
        let words = ClientTls::ALL.map(|mode| (mode.word(), mode));
        reader.word("client", value, &words)
    });
    let authorities = table.get("ca").and_then(|value| read_ca(reader, value));
    let name = table.get("name").and_then(|value| read_name(reader, value));
    let terms = LinkTerms {
        client: client.unwrap_or_default(),
        upstream: upstream.unwrap_or_default(),
        authorities: text(&authorities),
        name: text(&name),
        ..LinkTerms::default()
    };
    if matches!(terms.upstream, UpstreamTls::Disable | UpstreamTls::Require) {
        let upstream = terms.upstream;
        for (key, place) in [("ca", &authorities), ("name", &name)] {
            if let Some(place) = place {
                let message = format!("`{key}` means nothing where `upstream` is \"{upstream}\"");
                let expected = "`upstream` as \"verify-full\" or \"verify-ca\"";
                reader.error(place.span.clone(), message, expected);
            }
        }
    }
    if let (UpstreamTls::VerifyCa, Some(place)) = (terms.upstream, &name) {
        let message = "`name` means nothing where `upstream` is \"verify-ca\"";
        reader.error(place.span.clone(), message, "`upstream` as \"verify-full\"");
    }
    terms
}

fn text(located: &Option<Located<String>>) -> Option<Arc<str>> {
    located.as_ref().map(|text| text.value.as_str().into())
}

fn read_ca(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Located<String>> {
    let path = reader.string("ca", value, CA)?;
    if Path::new(&path.value).is_absolute() {
        return Some(path);
    }
    let message = format!("`ca` is {}", quoted(&path.value));
    reader.error(path.span, message, CA);
    None
}

fn read_name(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Located<String>> {
    let name = reader.name("name", value)?;
    let host = name.value.is_ascii() && !name.value.contains('*') && is_host_name(&name.value);
    if name.value.parse::<IpAddr>().is_ok() || host {
        return Some(name);
    }
    let message = format!("`name` is {}", quoted(&name.value));
    reader.error(name.span, message, NAME);
    None
}

fn read_credential(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Arc<str>> {
    let name = reader.name("credential", value)?;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let first = name.value.bytes().next().is_some_and(plain);
    let rest = name
        .value
        .bytes()
        .all(|byte| plain(byte) || b"._-".contains(&byte));
    if first && rest && name.value.len() <= 64 {
        return Some(name.value.as_str().into());
    }
    let message = format!("`credential` is {}", quoted(&name.value));
    reader.error(name.span, message, CREDENTIAL);
    None
}
