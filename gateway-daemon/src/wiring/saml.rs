//! The SAML identity providers of the configuration, with the keys that they are known by.
use gateway_identity::{SamlConfig, SamlProviders};
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

/// A few certificates, with what tools write around them; or metadata. In bytes.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// Reads their files, once: a new key is taken by starting the daemon again.
pub(crate) fn providers(configs: &[SamlConfig]) -> Result<Arc<SamlProviders>, String> {
    let mut all = Vec::new();
    for config in configs {
        let mut files = Vec::new();
        for file in config.files() {
            let read = read(file, &mut files);
            read.map_err(|error| format!("saml {:?}: {file}: {error}", config.name))?;
        }
        all.push((config.clone(), files));
    }
    let providers = SamlProviders::new(all).map_err(|error| error.to_string())?;
    Ok(Arc::new(providers))
}

fn read(file: &str, files: &mut Vec<u8>) -> io::Result<()> {
    let mut opened = File::open(file)?.take(FILE_BYTES_MAX + 1);
    if opened.read_to_end(files)? as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("is larger than 256 KiB"));
    }
    files.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_identity::Certificates;

    #[test]
    fn what_cannot_be_read_or_is_no_certificate_is_named() {
        let config = |file: &str| SamlConfig {
            name: "acme".into(),
            entity_id: "e".into(),
            certificate: Some(Certificates::One(file.into())),
            metadata: None,
            audience: "a".into(),
            recipient: None,
            principal: "user:{name_id}".into(),
            groups: "groups".into(),
        };
        let failed = |file: &str| providers(&[config(file)]).expect_err(file);
        assert!(failed("/nowhere/at/all").starts_with("saml \"acme\": /nowhere"));
        assert!(failed("/dev/null").contains("expected one in PEM"));
        assert!(failed("/dev/zero").contains("256 KiB"));
        assert!(providers(&[]).is_ok());
    }
}
