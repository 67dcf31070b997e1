//! A client certificate as people have it: one PEM text with the chain and the key.
use crate::error::ValueError;
use rustls_pki_types::pem::{Error, SectionKind, SliceIter};
use zeroize::Zeroizing;

/// What the text has, each in PEM.
pub(crate) struct Parts {
    pub(crate) chain: String,
    pub(crate) key: String,
}

/// Tells certificates and key apart.
pub(crate) fn take_apart(text: &str) -> Result<Parts, ValueError> {
    let mut chain = String::new();
    let mut keys = Vec::new();
    let mut sections = SliceIter::<(SectionKind, Vec<u8>)>::new(text.as_bytes());
    let mut from = 0;
    while let Some(section) = sections.next() {
        // It may be the key.
        let (kind, _der) = section
            .map(|(kind, der)| (kind, Zeroizing::new(der)))
            .map_err(|error| ValueError::Pem(fault(&error)))?;
        let to = text.len().saturating_sub(sections.remainder().len());
        let section = section_text(text.get(from..to).unwrap_or_default());
        from = to;
        match kind {
            SectionKind::Certificate => {
                chain.push_str(section);
                chain.push('\n');
            }
            SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                keys.push(section);
            }
            _ => {}
        }
    }
    if chain.is_empty() {
        return Err(ValueError::NoCertificate);
    }
    match keys.as_slice() {
        [] => Err(ValueError::NoPrivateKey),
        [key] => Ok(Parts {
            chain,
            key: format!("{key}\n"),
        }),
        several => Err(ValueError::PrivateKeys(several.len())),
    }
}

/// Without what stands before it, which nobody asked for: bag attributes, sections of other kinds.
fn section_text(text: &str) -> &str {
    let begin = text.rfind("-----BEGIN ").unwrap_or(0);
    text.get(begin..).unwrap_or_default().trim_end()
}

/// In words of our own: those of the parser quote the text.
const fn fault(error: &Error) -> &'static str {
    match error {
        Error::MissingSectionEnd { .. } => "an END line is missing",
        Error::IllegalSectionStart { .. } => "a BEGIN line is not well-formed",
        Error::Base64Decode(_) => "what stands between two lines is not base64",
        _ => "it cannot be read",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pem;

    fn check(text: &str, expected: ValueError) {
        let error = take_apart(text).err();
        assert_eq!(error, Some(expected), "{text}");
    }

    #[test]
    fn the_chain_and_the_key_are_told_apart() {
        let (one, key) = pem();
        let (two, _) = pem();
        let mess = "Bag Attributes\n    friendlyName: ci\n";
        let crl = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
        for text in [
            format!("{one}{two}{key}"),
            format!("{key}{one}{two}"),
            format!("{one}{key}{two}"),
            format!("{mess}{one}{mess}{crl}{two}{mess}{key}{mess}"),
            format!("{one}{two}{key}").replace('\n', "\r\n"),
        ] {
            let parts = take_apart(&text).unwrap();
            assert_eq!(parts.chain.replace('\r', ""), format!("{one}{two}"));
            assert_eq!(parts.key.replace('\r', ""), key);
        }
    }

    #[test]
    fn what_is_missing_or_damaged_is_said_and_not_quoted() {
        let (chain, key) = pem();
        let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        check("", ValueError::NoCertificate);
        check("hunter2", ValueError::NoCertificate);
        check(&key, ValueError::NoCertificate);
        check(&chain, ValueError::NoPrivateKey);
        check(&format!("{chain}{encrypted}"), ValueError::NoPrivateKey);
        check(&format!("{chain}{key}{key}"), ValueError::PrivateKeys(2));
        let cut = key.split("-----END").next().unwrap();
        let text = format!("{chain}{cut}");
        check(&text, ValueError::Pem("an END line is missing"));
        let bad = format!("{chain}{}", key.replacen("\nM", "\n!", 1));
        let error = take_apart(&bad).err().unwrap();
        let expected = ValueError::Pem("what stands between two lines is not base64");
        assert_eq!(error, expected);
        let inner = key.lines().nth(1).unwrap();
        assert!(!format!("{error} {error:?}").contains(&inner[2..]));
    }
}
