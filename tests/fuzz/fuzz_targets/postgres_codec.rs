//! Every reader of a PostgreSQL message, with a body that can be anything.
#![no_main]

use gateway_postgres::codec::value::describe;
use gateway_postgres::codec::{header, request, response, startup};
use libfuzzer_sys::fuzz_target;

fn read_request(kind: u8, body: &[u8]) {
    match kind {
        b'Q' => _ = request::query(body),
        b'P' => {
            if let Ok(parse) = request::parse(body) {
                let size = parse.name.len() + parse.text.len() + 4 * parse.types().len();
                assert_eq!(size + 4, body.len(), "every byte of a Parse is somewhere");
            }
        }
        b'B' => {
            if let Ok(bind) = request::bind(body) {
                assert_eq!(bind.values.iter().count(), bind.values.count());
                read_values(bind.values);
            }
        }
        b'F' => {
            if let Ok(call) = request::function_call(body) {
                assert_eq!(call.values.iter().count(), call.values.count());
                read_values(call.values);
            }
        }
        b'E' => _ = request::execute(body),
        _ => _ = request::target(body),
    }
}

fn read_values(values: request::Values<'_>) {
    for (binary, value) in values.iter() {
        let Some(value) = value else { continue };
        for oid in [
            0, 16, 17, 20, 21, 23, 25, 26, 700, 701, 1082, 1083, 1114, 1184, 2950, 3802,
        ] {
            let mut text = String::new();
            let cut = describe(&mut text, value, binary, oid, 64);
            assert!(cut.is_none_or(|size| size as usize == value.len()));
            // A replacement character takes three bytes where there was one.
            assert!(text.len() <= 3 * 64 + 2, "{oid}: {text:?}");
        }
    }
}

fn read_response(kind: u8, body: &[u8]) {
    match kind {
        b'E' => {
            if let Ok(fields) = response::error(body) {
                assert!(fields.summary().len() < 3 * (512 + body.len()));
            }
        }
        b'C' => _ = response::command_tag(body).map(response::rows),
        b'S' => _ = response::parameter_status(body),
        b'K' => _ = response::backend_key(body),
        b't' => _ = response::parameter_description(body),
        b'v' => _ = response::negotiated_minor(body),
        _ => _ = response::ready(body),
    }
}

fn read_startup(bytes: &[u8]) {
    let recognised = startup::recognise(bytes);
    let Ok(Some(size)) = startup::packet_size(bytes) else {
        return;
    };
    let Some(packet) = bytes.get(..size) else {
        return;
    };
    match startup::packet(packet) {
        Ok(startup::Packet::Startup { parameters, .. }) => {
            assert_eq!(recognised, Some(true));
            let sizes = parameters
                .iter()
                .map(|(name, value)| name.len() + value.len() + 2);
            assert_eq!(
                sizes.sum::<usize>() + 9,
                size,
                "every byte of a packet is somewhere"
            );
            assert_eq!(startup::with_minor(packet, 2).len(), size);
        }
        Ok(startup::Packet::OtherVersion) => assert_eq!(recognised, Some(false)),
        Ok(_) => assert_eq!(recognised, Some(true)),
        Err(_) => {}
    }
}

fuzz_target!(|bytes: &[u8]| {
    let _ = header(bytes);
    read_startup(bytes);
    if let Some((&kind, body)) = bytes.split_first() {
        read_request(kind, body);
        read_response(kind, body);
    }
});
