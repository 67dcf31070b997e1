//! Authorities and certificates that are made for one test.
use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// An authority that nobody believes unless told to.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate in PEM form.
    pub pem: String,
}

/// A certificate with its key, both in PEM form.
pub struct Certificate {
    /// The certificate.
    pub pem: String,
    /// The key.
    pub key: String,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// No key can be made.
    pub fn new(name: &str) -> Result<Authority> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let pem = parameters.self_signed(&key)?.pem();
        let issuer = Issuer::new(parameters, key);
        Ok(Authority { issuer, pem })
    }

    /// A certificate for these names and addresses.
    ///
    /// # Errors
    /// A name cannot be in one.
    pub fn issue(&self, names: &[&str]) -> Result<Certificate> {
        self.issue_until(names, 2096)
    }

    /// A certificate for whoever has this common name, as clients show it.
    ///
    /// # Errors
    /// No key can be made.
    pub fn issue_client(&self, name: &str) -> Result<Certificate> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, name);
        self.sign(&parameters)
    }

    /// The same, valid until the end of this year.
    ///
    /// # Errors
    /// A name cannot be in one.
    pub fn issue_until(&self, names: &[&str], year: i32) -> Result<Certificate> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(names)?;
        parameters.not_before = date_time_ymd(2020, 1, 1);
        parameters.not_after = date_time_ymd(year, 12, 31);
        self.sign(&parameters)
    }

    fn sign(&self, parameters: &CertificateParams) -> Result<Certificate> {
        let key = KeyPair::generate()?;
        let pem = parameters.signed_by(&key, &self.issuer)?.pem();
        let key = key.serialize_pem();
        Ok(Certificate { pem, key })
    }
}
