//! Bind values as they are recorded.
use crate::codec::types::TypeNames;
use crate::codec::value::describe;

fn binary(oid: u32, value: &[u8]) -> String {
    let mut text = String::new();
    assert_eq!(describe(&mut text, value, true, oid, 1000), None);
    text
}

#[test]
fn binary_values_read_as_the_server_writes_them() {
    let micros = |value: i64| value.to_be_bytes().to_vec();
    let days = |value: i32| value.to_be_bytes().to_vec();
    let uuid: Vec<u8> = (0..16).collect();
    for (oid, value, expected) in [
        (16, vec![1], "t"),
        (16, vec![0], "f"),
        (16, vec![2], "\\x02"),
        (17, vec![0xde, 0xad], "\\xdead"),
        (20, (-5_i64).to_be_bytes().to_vec(), "-5"),
        (21, (-2_i16).to_be_bytes().to_vec(), "-2"),
        (23, i32::MIN.to_be_bytes().to_vec(), "-2147483648"),
        (23, vec![1, 2], "\\x0102"),
        (26, u32::MAX.to_be_bytes().to_vec(), "4294967295"),
        (700, 1.5_f32.to_be_bytes().to_vec(), "1.5"),
        (701, (-0.25_f64).to_be_bytes().to_vec(), "-0.25"),
        (
            701,
            f64::MIN_POSITIVE.to_be_bytes().to_vec(),
            "2.2250738585072014e-308",
        ),
        (701, 1e15_f64.to_be_bytes().to_vec(), "1e+15"),
        (701, 1e14_f64.to_be_bytes().to_vec(), "100000000000000"),
        (701, 0.0001_f64.to_be_bytes().to_vec(), "0.0001"),
        (701, 0_f64.to_be_bytes().to_vec(), "0"),
        (701, f64::NAN.to_be_bytes().to_vec(), "NaN"),
        (701, f64::NEG_INFINITY.to_be_bytes().to_vec(), "-Infinity"),
        (700, f32::MAX.to_be_bytes().to_vec(), "3.4028235e+38"),
        (25, b"text".to_vec(), "text"),
        (1043, "é".as_bytes().to_vec(), "é"),
        (25, vec![b'a', 0xff, b'b'], "a\u{fffd}b"),
        (3802, b"\x01{\"a\": 1}".to_vec(), "{\"a\": 1}"),
        (3802, b"\x02{}".to_vec(), "\\x027b7d"),
        (2950, uuid, "00010203-0405-0607-0809-0a0b0c0d0e0f"),
        (1082, days(0), "2000-01-01"),
        (1082, days(-1), "1999-12-31"),
        (1082, days(59), "2000-02-29"),
        (1082, days(9801), "2026-11-01"),
        (1082, days(-730_119), "0001-01-01"),
        (1082, days(-730_120), "0001-12-31 BC"),
        (1082, days(i32::MAX), "infinity"),
        (1082, days(i32::MIN), "-infinity"),
        (1082, days(i32::MAX - 1), "5881610-07-10"),
        (1083, micros(3_723_000_001), "01:02:03.000001"),
        (1114, micros(0), "2000-01-01 00:00:00"),
        (1114, micros(-1), "1999-12-31 23:59:59.999999"),
        (1184, micros(86_400_500_000), "2000-01-02 00:00:00.5+00"),
        (1114, micros(i64::MIN), "-infinity"),
        (1114, micros(i64::MAX), "infinity"),
        (1700, vec![0, 1], "\\x0001"),
        (0, vec![0, 1], "\\x0001"),
    ] {
        assert_eq!(binary(oid, &value), expected, "type {oid}");
    }
}

#[test]
fn no_value_is_too_odd() {
    for oid in [
        16, 17, 20, 21, 23, 26, 700, 701, 1082, 1083, 1114, 1184, 2950, 3802,
    ] {
        for length in 0..20 {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut text = String::new();
                describe(&mut text, &vec![byte; length], true, oid, 1000);
            }
        }
    }
}

#[test]
fn cuts_never_split_a_character_and_tell_the_whole_length() {
    let mut text = String::new();
    assert_eq!(describe(&mut text, "aéb".as_bytes(), false, 25, 2), Some(4));
    assert_eq!(text, "a");
    text.clear();
    assert_eq!(describe(&mut text, &[0xab; 9], true, 0, 4), Some(9));
    assert_eq!(text, "\\xabab");
}

#[test]
fn types_have_names() {
    let names = TypeNames::new();
    assert_eq!(names.name(23).as_deref(), Some("int4"));
    assert_eq!(names.name(16_402).as_deref(), Some("oid:16402"));
    assert_eq!(names.name(0), None);
}
