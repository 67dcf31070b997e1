//! `[[resource]]`: a name for destinations.
use super::{ResourceTable, link};
use crate::network::Host;
use crate::reader::{Located, Reader, Section, Value};
use crate::schema::{Form, Key};
use toml::de::DeValue;

/// The keys of a resource that this version obeys.
pub(crate) const KEYS: [Key; 6] = [
    Key::needed("name", Form::Name, "By which rules name it"),
    Key::new(
        "protocol",
        Form::Protocol,
        "What must be spoken there; by default anything",
    ),
    Key::needed("hosts", Form::Lines, "Addresses, networks and names"),
    Key::new("ports", Form::Ports, "Ports; by default all"),
    Key::new(
        "tls",
        Form::Tls,
        "Who encrypts the way, and who is believed",
    ),
    Key::new(
        "credential",
        Form::Credential,
        "What the gateway logs in with, in place of the client",
    ),
];

const HOSTS: &str = "a list of addresses, networks and names like \
                     [\"10.0.0.7\", \"10.20.0.0/16\", \"orders.db.internal\"]";
const PORTS: &str = "a list of ports from 1 to 65535, or no `ports` for all of them";

pub(super) fn read(reader: &mut Reader<'_>, section: &Section<'_>) -> ResourceTable {
    reader.check_keys(section, &KEYS);
    let name = reader
        .required(section, "name", "a name of 1 to 200 characters")
        .and_then(|value| reader.name("name", value))
        .filter(|name| check_name(reader, name));
    let protocol = section
        .get("protocol")
        .and_then(|value| read_protocol(reader, value));
    let hosts = match reader.required(section, "hosts", HOSTS) {
        Some(value) => read_hosts(reader, value),
        None => Vec::new(),
    };
    let ports = section.get("ports").map(|value| read_ports(reader, value));
    let terms = link::read(reader, section);
    ResourceTable {
        name,
        protocol,
        hosts,
        ports,
        terms,
    }
}

/// A name must not be mistaken for a pattern, nor for a destination that has no name.
fn check_name(reader: &mut Reader<'_>, name: &Located<String>) -> bool {
    let fault = if name.value.contains('*') {
        "has a `*` in it, so rules could not tell it from a pattern"
    } else if name
        .value
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    {
        "looks like address:port, the name of a destination that no [[resource]] names"
    } else {
        return true;
    };
    let message = format!("the name of the resource {fault}");
    reader.error(name.span.clone(), message, "a name like \"prod-orders\"");
    false
}

fn read_protocol(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Located<String>> {
    const EXPECTED: &str = "the name of a protocol like \"postgres\"";
    let protocol = reader.string("protocol", value, EXPECTED)?;
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let text = &protocol.value;
    if text.is_empty() || text.len() > 32 || !text.bytes().all(letters) {
        let message = format!("`protocol` is {}", crate::diagnostic::quoted(text));
        reader.error(protocol.span, message, EXPECTED);
        return None;
    }
    Some(protocol)
}

fn read_hosts(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<Located<Host>> {
    let texts = reader.filled_strings("hosts", value, HOSTS);
    let mut hosts = Vec::new();
    for text in texts.unwrap_or_default() {
        match Host::parse(&text.value) {
            Ok(host) => hosts.push(Located {
                value: host,
                span: text.span,
            }),
            Err((message, expected)) => reader.error(text.span, message, expected),
        }
    }
    hosts
}

fn read_ports(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<u16> {
    let DeValue::Array(array) = value.get_ref() else {
        reader.wrong_type("ports", value, PORTS);
        return Vec::new();
    };
    if array.is_empty() {
        reader.error(value.span(), "`ports` is an empty list", PORTS);
    }
    let port = |value| {
        let number = reader.number("ports", value, 1..65536, "a port from 1 to 65535");
        number.and_then(|number| u16::try_from(number).ok())
    };
    let mut ports: Vec<u16> = array.iter().filter_map(port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}
