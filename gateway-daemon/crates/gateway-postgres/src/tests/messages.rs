//! Messages of both sides, made by hand: what the crate itself makes is not trusted here.

fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend((body.len() as u32 + 4).to_be_bytes());
    bytes.extend(body);
    bytes
}

pub(super) fn raw(kind: u8, body: &[u8]) -> Vec<u8> {
    framed(kind, body)
}

fn packet(code: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32 + 8).to_be_bytes().to_vec();
    bytes.extend(code.to_be_bytes());
    bytes.extend(body);
    bytes
}

pub(super) fn all(messages: &[Vec<u8>]) -> Vec<u8> {
    messages.concat()
}

// The client's.

pub(super) fn ssl_request() -> Vec<u8> {
    packet(80_877_103, &[])
}

pub(super) fn gssenc_request() -> Vec<u8> {
    packet(80_877_104, &[])
}

pub(super) fn cancel_request(process: u32, secret: &[u8]) -> Vec<u8> {
    packet(80_877_102, &[&process.to_be_bytes(), secret].concat())
}

pub(super) fn startup(minor: u16, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in parameters {
        body.extend(name.bytes().chain([0]).chain(value.bytes()).chain([0]));
    }
    body.push(0);
    packet(3 << 16 | u32::from(minor), &body)
}

fn text(text: &str) -> Vec<u8> {
    text.bytes().chain([0]).collect()
}

pub(super) fn query(sql: &str) -> Vec<u8> {
    framed(b'Q', &text(sql))
}

pub(super) fn parse(name: &str, sql: &str) -> Vec<u8> {
    parse_with(name, sql, &[])
}

pub(super) fn parse_with(name: &str, sql: &str, types: &[u32]) -> Vec<u8> {
    let mut body = [text(name), text(sql)].concat();
    body.extend((types.len() as u16).to_be_bytes());
    body.extend(types.iter().flat_map(|oid| oid.to_be_bytes()));
    framed(b'P', &body)
}

pub(super) fn bind(portal: &str, statement: &str) -> Vec<u8> {
    bind_with(portal, statement, &[], &[])
}

pub(super) fn bind_with(
    portal: &str,
    statement: &str,
    formats: &[u16],
    values: &[Option<&[u8]>],
) -> Vec<u8> {
    let mut body = [text(portal), text(statement)].concat();
    body.extend((formats.len() as u16).to_be_bytes());
    body.extend(formats.iter().flat_map(|format| format.to_be_bytes()));
    body.extend((values.len() as u16).to_be_bytes());
    for value in values {
        match value {
            Some(value) => {
                body.extend((value.len() as u32).to_be_bytes());
                body.extend(*value);
            }
            None => body.extend((-1_i32).to_be_bytes()),
        }
    }
    body.extend([0, 0]);
    framed(b'B', &body)
}

pub(super) fn execute(portal: &str) -> Vec<u8> {
    framed(b'E', &[text(portal), vec![0; 4]].concat())
}

pub(super) fn describe(kind: char, name: &str) -> Vec<u8> {
    framed(b'D', &[vec![kind as u8], text(name)].concat())
}

pub(super) fn close(kind: char, name: &str) -> Vec<u8> {
    framed(b'C', &[vec![kind as u8], text(name)].concat())
}

pub(super) fn function_call(oid: u32, argument: &[u8]) -> Vec<u8> {
    let mut body = oid.to_be_bytes().to_vec();
    body.extend([0, 1, 0, 1, 0, 1]);
    body.extend((argument.len() as u32).to_be_bytes());
    body.extend(argument);
    body.extend([0, 0]);
    framed(b'F', &body)
}

pub(super) fn sync() -> Vec<u8> {
    framed(b'S', &[])
}

pub(super) fn flush() -> Vec<u8> {
    framed(b'H', &[])
}

pub(super) fn terminate() -> Vec<u8> {
    framed(b'X', &[])
}

pub(super) fn password(secret: &str) -> Vec<u8> {
    framed(b'p', &text(secret))
}

pub(super) fn copy_data(data: &[u8]) -> Vec<u8> {
    framed(b'd', data)
}

pub(super) fn copy_done() -> Vec<u8> {
    framed(b'c', &[])
}

pub(super) fn copy_fail(why: &str) -> Vec<u8> {
    framed(b'f', &text(why))
}

// The upstream's.

pub(super) fn authentication(code: u32) -> Vec<u8> {
    let body: &[u8] = match code {
        5 => &[1, 2, 3, 4],
        10 => b"SCRAM-SHA-256\0\0",
        11 => b"r=x,s=AAAA,i=4096",
        12 => b"v=AAAA",
        _ => &[],
    };
    framed(b'R', &[&code.to_be_bytes(), body].concat())
}

pub(super) fn parameter_status(name: &str, value: &str) -> Vec<u8> {
    framed(b'S', &[text(name), text(value)].concat())
}

pub(super) fn backend_key(process: u32, secret: &[u8]) -> Vec<u8> {
    framed(b'K', &[&process.to_be_bytes(), secret].concat())
}

pub(super) fn negotiate(minor: u16) -> Vec<u8> {
    framed(
        b'v',
        &[&(3_u32 << 16 | u32::from(minor)).to_be_bytes()[..], &[0; 4]].concat(),
    )
}

pub(super) fn ready(status: char) -> Vec<u8> {
    framed(b'Z', &[status as u8])
}

pub(super) fn row_description() -> Vec<u8> {
    let mut body = vec![0, 1];
    body.extend(text("n"));
    body.extend([0; 18]);
    framed(b'T', &body)
}

pub(super) fn data_row(value: &[u8]) -> Vec<u8> {
    data_row_of(&[value])
}

pub(super) fn data_row_of(values: &[&[u8]]) -> Vec<u8> {
    let mut body = (values.len() as u16).to_be_bytes().to_vec();
    for value in values {
        body.extend((value.len() as u32).to_be_bytes());
        body.extend(*value);
    }
    framed(b'D', &body)
}

pub(super) fn complete(tag: &str) -> Vec<u8> {
    framed(b'C', &text(tag))
}

pub(super) fn error(code: &str, message: &str) -> Vec<u8> {
    severe("ERROR", code, message)
}

pub(super) fn severe(severity: &str, code: &str, message: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for (kind, value) in [
        (b'S', severity),
        (b'V', severity),
        (b'C', code),
        (b'M', message),
    ] {
        body.push(kind);
        body.extend(text(value));
    }
    body.push(0);
    framed(b'E', &body)
}

pub(super) fn notice(message: &str) -> Vec<u8> {
    framed(
        b'N',
        &[&b"SNOTICE\0C00000\0M"[..], &text(message), &[0]].concat(),
    )
}

pub(super) fn notification(process: u32, channel: &str) -> Vec<u8> {
    framed(
        b'A',
        &[process.to_be_bytes().to_vec(), text(channel), text("")].concat(),
    )
}

pub(super) fn bare(kind: char) -> Vec<u8> {
    framed(kind as u8, &[])
}

pub(super) fn parameter_description(types: &[u32]) -> Vec<u8> {
    let mut body = (types.len() as u16).to_be_bytes().to_vec();
    body.extend(types.iter().flat_map(|oid| oid.to_be_bytes()));
    framed(b't', &body)
}

pub(super) fn copy_response(kind: char) -> Vec<u8> {
    framed(kind as u8, &[0, 0, 1, 0, 0])
}

pub(super) fn function_result(value: &[u8]) -> Vec<u8> {
    framed(
        b'V',
        &[&(value.len() as u32).to_be_bytes()[..], value].concat(),
    )
}

/// The kinds of the messages in a stream, and each `E` with its SQLSTATE: `1 2 C E42501 Z`.
pub(super) fn kinds(mut bytes: &[u8]) -> String {
    let mut kinds = Vec::new();
    while !bytes.is_empty() {
        let size = 1 + u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
        let mut kind = char::from(bytes[0]).to_string();
        match bytes[0] {
            b'E' => kind.push_str(&field(&bytes[5..size], b'C')),
            b'Z' => kind.push(char::from(bytes[5])),
            _ => {}
        }
        kinds.push(kind);
        bytes = &bytes[size..];
    }
    kinds.join(" ")
}

/// A field of the first ErrorResponse in a stream.
pub(super) fn error_field(mut bytes: &[u8], kind: char) -> Option<String> {
    while !bytes.is_empty() {
        let size = 1 + u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
        if bytes[0] == b'E' {
            return Some(field(&bytes[5..size], kind as u8));
        }
        bytes = &bytes[size..];
    }
    None
}

fn field(body: &[u8], kind: u8) -> String {
    body.split(|byte| *byte == 0)
        .find(|field| field.first() == Some(&kind))
        .map(|field| String::from_utf8_lossy(&field[1..]).into_owned())
        .unwrap_or_default()
}
