//! Certificates for tests, made as they are needed.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

pub struct Made {
    pub certificate: crate::Certificate,
    pub key: KeyPair,
    pub params: CertificateParams,
}

pub fn params(common_name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.use_authority_key_identifier_extension = true;
    params
}

pub fn authority(common_name: &str) -> Made {
    let mut params = params(common_name, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    self_signed(params, KeyPair::generate().unwrap())
}

pub fn self_signed(params: CertificateParams, key: KeyPair) -> Made {
    let made = params.self_signed(&key).unwrap();
    Made {
        certificate: crate::Certificate::from_der(made.der()).unwrap(),
        key,
        params,
    }
}

impl Made {
    pub fn issue(&self, params: CertificateParams) -> Made {
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let made = params.signed_by(&key, &issuer).unwrap();
        Made {
            certificate: crate::Certificate::from_der(made.der()).unwrap(),
            key,
            params,
        }
    }
}

/// A file of `samples/`.
pub fn sample(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/samples/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}
