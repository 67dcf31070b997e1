//! Tokens that are right, and all the ways in which they are not, with real keys.
use super::*;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

mod cached;
mod http;
mod sign_in;

const URL: &str = "https://issuer.test/tenant";
const SECOND: u64 = 1_000_000_000;
const NOW: Timestamp = Timestamp(1_800_000_000 * SECOND);

fn after(seconds: u64) -> Timestamp {
    Timestamp(NOW.0 + seconds * SECOND)
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key pair of an issuer.
enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Pair {
    fn rsa() -> Pair {
        // Made for this test alone: outside of the library under test.
        let key = include_bytes!("rsa-2048-test-only.pk8");
        Pair::Rsa(RsaKeyPair::from_pkcs8(key).expect("key"))
    }

    fn p256() -> Pair {
        let random = SystemRandom::new();
        let scheme = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::generate_pkcs8(scheme, &random).expect("key");
        Pair::P256(EcdsaKeyPair::from_pkcs8(scheme, key.as_ref()).expect("key"))
    }

    fn ed25519() -> Pair {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("key");
        Pair::Ed25519(Ed25519KeyPair::from_pkcs8(key.as_ref()).expect("key"))
    }

    fn alg(&self) -> &'static str {
        match self {
            Pair::Rsa(_) => "RS256",
            Pair::P256(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Pair::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .expect("sign");
                signature
            }
            Pair::P256(key) => key.sign(&random, message).expect("sign").as_ref().to_vec(),
            Pair::Ed25519(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    fn jwk(&self, kid: &str) -> Value {
        match self {
            Pair::Rsa(key) => {
                let public = key.public_key();
                let n = base64(public.modulus().big_endian_without_leading_zero());
                let e = base64(public.exponent().big_endian_without_leading_zero());
                json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": n, "e": e})
            }
            Pair::P256(key) => {
                let point = key.public_key().as_ref();
                let (x, y) = (base64(&point[1..33]), base64(&point[33..]));
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": x, "y": y})
            }
            Pair::Ed25519(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": base64(key.public_key())})
            }
        }
    }

    /// A token with these claims, signed.
    fn token(&self, kid: &str, claims: &Value) -> String {
        let header = json!({"typ": "JWT", "alg": self.alg(), "kid": kid});
        self.token_with(&header, claims)
    }

    fn token_with(&self, header: &Value, claims: &Value) -> String {
        let signed = unsigned(header, claims);
        let signature = base64(self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let (header, claims) = (base64(header.to_string()), base64(claims.to_string()));
    format!("{header}.{claims}")
}

/// An issuer's server: what it answers can be changed, how often it is asked is counted.
#[derive(Clone, Default)]
struct Server {
    /// `None`: it is down.
    jwks: Arc<Mutex<Option<Vec<u8>>>>,
    discovery: Arc<Mutex<Option<Value>>>,
    asked: Arc<AtomicUsize>,
    /// Answers only when told to.
    gate: Option<Arc<Mutex<Receiver<()>>>>,
}

impl Server {
    fn with(keys: &[Value]) -> Server {
        let server = Server::default();
        server.publish(keys);
        server
    }

    fn publish(&self, keys: &[Value]) {
        *self.jwks.lock() = Some(json!({ "keys": keys }).to_string().into_bytes());
    }

    fn goes_down(&self) {
        *self.jwks.lock() = None;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Fetch for Server {
    fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let fail = |reason: &str| FetchError {
            url: url.to_owned(),
            reason: reason.to_owned(),
        };
        let discovery = format!("{URL}/.well-known/openid-configuration");
        if url == discovery {
            self.asked.fetch_add(1, Ordering::SeqCst);
            if let Some(gate) = &self.gate {
                let patience = std::time::Duration::from_secs(30);
                gate.lock().recv_timeout(patience).expect("told to go on");
            }
            let document = self.discovery.lock().clone().unwrap_or_else(
                || json!({"issuer": URL, "jwks_uri": "https://keys.test/jwks", "x": [1]}),
            );
            return Ok(document.to_string().into_bytes());
        }
        assert_eq!(url, "https://keys.test/jwks");
        let jwks = self.jwks.lock().clone();
        jwks.ok_or_else(|| fail("connection refused"))
    }
}

fn config() -> IssuerConfig {
    IssuerConfig {
        name: "github".to_owned(),
        url: URL.to_owned(),
        audience: "gateway".to_owned(),
        principal: "ci:github:{repository}@{ref}".to_owned(),
        groups: "groups".to_owned(),
        environment: Some("GATEWAY_ID_TOKEN".to_owned()),
        client_id: None,
        unverified_email: false,
    }
}

fn issuers(server: &Server) -> Issuers {
    Issuers::new(vec![config()], Box::new(server.clone())).expect("issuers")
}

/// What a job's token says.
fn claims() -> Value {
    let now = NOW.0 / SECOND;
    json!({
        "iss": URL, "aud": "gateway", "sub": "repo:acme/api:ref:refs/heads/main", "jti": "id-1",
        "iat": now - 10, "nbf": now - 10, "exp": now + 300,
        "repository": "acme/api", "ref": "refs/heads/main", "groups": ["release", "a *"],
    })
}

fn claims_but(name: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => claims.as_object_mut().expect("object").remove(name),
        value => claims
            .as_object_mut()
            .expect("object")
            .insert(name.to_owned(), value),
    };
    claims
}

#[test]
fn each_algorithm_proves_the_principal() {
    let pairs = [Pair::rsa(), Pair::p256(), Pair::ed25519()];
    let keys: Vec<Value> = pairs.iter().map(|pair| pair.jwk(pair.alg())).collect();
    let issuers = issuers(&Server::with(&keys));
    for pair in &pairs {
        let token = pair.token(pair.alg(), &claims());
        let verified = issuers
            .verify(&format!(" {token}\n"), NOW)
            .expect("verified");
        let expected = VerifiedToken {
            principal: Principal {
                id: "ci:github:acme/api@refs/heads/main".into(),
                assurance: gateway_core::Assurance::Verified,
                groups: vec!["release".into(), "a%20%2A".into()],
            },
            issuer: "github".into(),
            id: "id-1".into(),
            expires: after(300),
            subject: "repo:acme/api:ref:refs/heads/main".into(),
        };
        assert_eq!(verified, expected, "{}", pair.alg());
        // Without a key's name all keys of the kind are tried.
        let nameless = pair.token_with(&json!({"alg": pair.alg()}), &claims());
        assert_eq!(issuers.verify(&nameless, NOW), Ok(expected));
    }
}

#[test]
fn signatures_that_prove_nothing_are_refused() {
    let (rsa, p256, ed25519) = (Pair::rsa(), Pair::p256(), Pair::ed25519());
    let keys = [rsa.jwk("r"), p256.jwk("p"), ed25519.jwk("e")];
    let issuers = issuers(&Server::with(&keys));
    let refused = |token: &str| issuers.verify(token, NOW).expect_err("refused");

    for alg in [
        "none", "None", "NONE", "HS256", "HS512", "RS384", "PS256", "ES384", "", "a\n",
    ] {
        let shown = alg.escape_default().to_string();
        let header = json!({"alg": alg, "kid": "r"});
        let token = rsa.token_with(&header, &claims());
        assert_eq!(refused(&token), TokenError::Algorithm(shown));
        let bare = format!("{}.", unsigned(&header, &claims()));
        assert!(matches!(refused(&bare), TokenError::Algorithm(_)));
    }
    // The public key as the secret of an HMAC.
    let secret = keys[0]["n"].as_str().expect("n").as_bytes().to_vec();
    for alg in ["HS256", "RS256"] {
        let signed = unsigned(&json!({"alg": alg, "kid": "r"}), &claims());
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
        let tag = base64(aws_lc_rs::hmac::sign(&key, signed.as_bytes()));
        let expected = match alg {
            "HS256" => TokenError::Algorithm("HS256".to_owned()),
            _ => TokenError::Signature,
        };
        assert_eq!(refused(&format!("{signed}.{tag}")), expected);
    }
    // Another key by the same name, another algorithm than the key's, no signature.
    for (pair, kid) in [(Pair::p256(), "p"), (Pair::ed25519(), "e")] {
        assert_eq!(refused(&pair.token(kid, &claims())), TokenError::Signature);
    }
    let token = ed25519.token_with(&json!({"alg": "EdDSA", "kid": "p"}), &claims());
    assert_eq!(refused(&token), TokenError::AnotherAlgorithm("ES256"));
    for pair in [&rsa, &p256, &ed25519] {
        let kid = pair.alg().to_ascii_lowercase()[..1].to_owned();
        let kid = if kid == "e" && pair.alg() == "ES256" {
            "p".to_owned()
        } else {
            kid
        };
        let token = pair.token(&kid, &claims());
        let (signed, signature) = token.rsplit_once('.').expect("parts");
        assert_eq!(refused(&format!("{signed}.")), TokenError::Signature);
        let (header, _) = signed.split_once('.').expect("parts");
        let other = base64(claims_but("repository", json!("acme/prod")).to_string());
        let swapped = format!("{header}.{other}.{signature}");
        assert_eq!(refused(&swapped), TokenError::Signature);
        assert!(issuers.verify(&token, NOW).is_ok());
    }
}

#[test]
fn a_key_in_the_token_is_not_looked_at() {
    let (own, thief) = (Pair::p256(), Pair::p256());
    let issuers = issuers(&Server::with(&[own.jwk("a")]));
    let header = json!({
        "alg": "ES256", "kid": "a", "jwk": thief.jwk("a"), "jku": "https://thief.test/jwks"
    });
    let token = thief.token_with(&header, &claims());
    assert_eq!(issuers.verify(&token, NOW), Err(TokenError::Signature));
}

#[test]
fn claims_decide_what_a_token_is_good_for() {
    let pair = Pair::ed25519();
    let issuers = issuers(&Server::with(&[pair.jwk("e")]));
    let verify = |claims: &Value| issuers.verify(&pair.token("e", claims), NOW);
    let now = NOW.0 / SECOND;
    let missing = |name: &str| TokenError::MissingClaim(name.to_owned());
    let audience = || TokenError::Audience("gateway".to_owned());
    let cases = [
        ("iss", json!(null), missing("iss")),
        ("iss", json!(7), missing("iss")),
        (
            "iss",
            json!("https://issuer.test/tenant/"),
            TokenError::UnknownIssuer("https://issuer.test/tenant/".to_owned()),
        ),
        (
            "iss",
            json!("HTTPS://issuer.test/tenant"),
            TokenError::UnknownIssuer("HTTPS://issuer.test/tenant".to_owned()),
        ),
        ("aud", json!(null), audience()),
        ("aud", json!("Gateway"), audience()),
        ("aud", json!(["other", "gateway2"]), audience()),
        ("aud", json!({"gateway": true}), audience()),
        ("exp", json!(null), missing("exp")),
        ("exp", json!(now), TokenError::Expired),
        ("exp", json!(0), TokenError::Expired),
        ("nbf", json!(now + 61), TokenError::NotYet("nbf")),
        ("iat", json!(now + 61), TokenError::NotYet("iat")),
        ("sub", json!(null), missing("sub")),
        ("repository", json!(null), missing("repository")),
    ];
    for (name, value, expected) in cases {
        assert_eq!(
            verify(&claims_but(name, value.clone())),
            Err(expected),
            "{name} {value}"
        );
    }
    let malformed = [
        ("exp", json!("1900000000")),
        ("exp", json!(-1)),
        ("nbf", json!(true)),
        ("sub", json!("")),
        ("sub", json!("a\u{1b}[2J")),
        ("sub", json!("x".repeat(1025))),
        ("jti", json!("")),
        ("jti", json!(7)),
        ("jti", json!("x".repeat(257))),
        ("groups", json!({"a": 1})),
        ("groups", json!(["a", 1])),
        ("groups", json!(["x".repeat(257)])),
        ("groups", json!(vec!["x"; 513])),
        ("repository", json!(["acme/api"])),
    ];
    for (name, value) in malformed {
        let refused = verify(&claims_but(name, value.clone()));
        let by_name = matches!(&refused, Err(TokenError::Claim { name: it, .. }) if it == name);
        assert!(by_name, "{name} {value} {refused:?}");
    }
    let fine = [
        ("aud", json!(["other", "gateway"])),
        ("exp", json!(now + 1)),
        ("exp", json!((now + 1) as f64 + 0.5)),
        ("exp", json!(u64::MAX)),
        ("nbf", json!(now + 60)),
        ("iat", json!(null)),
        ("nbf", json!(null)),
        ("groups", json!(null)),
        ("groups", json!("one")),
    ];
    for (name, value) in fine {
        assert!(
            verify(&claims_but(name, value.clone())).is_ok(),
            "{name} {value}"
        );
    }
}

/// `n - s`, for the order n of the curve P-256 (FIPS 186-4, D.1.2.3).
fn negate(s: &mut [u8]) {
    const ORDER: [u64; 4] = [
        0xffff_ffff_0000_0000,
        0xffff_ffff_ffff_ffff,
        0xbce6_faad_a717_9e84,
        0xf3b9_cac2_fc63_2551,
    ];
    let order: Vec<u8> = ORDER.iter().flat_map(|part| part.to_be_bytes()).collect();
    let mut borrow = 0;
    for (digit, minuend) in s.iter_mut().zip(order).rev() {
        let difference = i16::from(minuend) - i16::from(*digit) - borrow;
        borrow = i16::from(difference < 0);
        *digit = u8::try_from(difference.rem_euclid(256)).expect("digit");
    }
}

#[test]
fn a_token_without_an_id_is_named_by_what_is_signed() {
    let pair = Pair::p256();
    let issuers = issuers(&Server::with(&[pair.jwk("a")]));
    let id = |token: &str| issuers.verify(token, NOW).expect("verified").id;
    // ECDSA signs with a random number: one content, two signatures, one token all the same.
    let claims = claims_but("jti", json!(null));
    let (one, other) = (pair.token("a", &claims), pair.token("a", &claims));
    assert_ne!(one, other);
    assert_eq!(id(&one), id(&other));
    assert!(id(&one).starts_with("sha256:") && id(&one).len() == 71);
    // Of a valid (r, s), (r, n - s) is valid too, and needs no key: still the same token.
    let (signed, signature) = one.rsplit_once('.').expect("parts");
    let mut signature = jws::decode(signature).expect("signature");
    negate(&mut signature[32..]);
    let turned = format!("{signed}.{}", base64(&signature));
    assert_ne!(one, turned);
    assert_eq!(id(&one), id(&turned));
    let another = pair.token("a", &claims_but("iat", json!(5)));
    assert_eq!(id(&another).as_ref(), "id-1");
}

#[test]
fn what_is_not_a_token_is_refused_unread() {
    let pair = Pair::ed25519();
    let server = Server::with(&[pair.jwk("e")]);
    let issuers = issuers(&server);
    let verify = |token: &str| issuers.verify(token, NOW).expect_err("refused");
    let large = "x".repeat(TOKEN_BYTES_MAX + 1);
    assert_eq!(verify(&large), TokenError::TooLarge(TOKEN_BYTES_MAX + 1));
    let token = pair.token("e", &claims());
    let header = |header: Value| pair.token_with(&header, &claims());
    let list = base64("[1]");
    let nested = base64(format!("{}1{}", "[".repeat(5000), "]".repeat(5000)));
    let none = base64(r#"{"alg":"EdDSA"}"#);
    let malformed = [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "a.b.c.d".to_owned(),
        format!("{token}."),
        format!("{token}="),
        format!("{token}é"),
        token.replace('.', ".\n"),
        format!("{list}.{list}.{list}"),
        format!("{none}.{list}.{list}"),
        format!("{none}.{nested}.{list}"),
        header(json!({"kid": "e"})),
        header(json!({"alg": "EdDSA", "kid": 7})),
        header(json!({"alg": "EdDSA", "kid": "e", "typ": "logout+jwt"})),
    ];
    for token in malformed {
        let refused = verify(&token);
        assert!(
            matches!(refused, TokenError::Malformed(_)),
            "{token:?} {refused:?}"
        );
    }
    for crit in [json!(["exp"]), json!([]), json!("b64")] {
        let token = header(json!({"alg": "EdDSA", "kid": "e", "crit": crit}));
        assert_eq!(verify(&token), TokenError::Critical);
    }
    assert_eq!(
        server.asked(),
        0,
        "none of these made the gateway ask anybody"
    );
}

#[test]
fn weak_and_strange_keys_are_passed_over() {
    let (rsa, p256) = (Pair::rsa(), Pair::p256());
    let with = |mut key: Value, name: &str, value: Value| {
        key[name] = value;
        key
    };
    // 1024 bits: what a key generator of the nineties would have made.
    let short = with(rsa.jwk("short"), "n", json!(base64([0xc5; 128])));
    let padded = with(
        rsa.jwk("padded"),
        "n",
        json!(base64([&[0; 200][..], &[0xc5; 128]].concat())),
    );
    let cases = [
        (&rsa, "short", short),
        (&rsa, "padded", padded),
        (&rsa, "enc", with(rsa.jwk("enc"), "use", json!("enc"))),
        (&rsa, "ps", with(rsa.jwk("ps"), "alg", json!("PS256"))),
        (
            &rsa,
            "ops",
            with(rsa.jwk("ops"), "key_ops", json!(["sign"])),
        ),
        (
            &p256,
            "curve",
            with(p256.jwk("curve"), "crv", json!("secp256k1")),
        ),
        (&p256, "point", with(p256.jwk("point"), "x", json!("AA"))),
        (
            &p256,
            "oct",
            json!({"kty": "oct", "kid": "oct", "k": "AAAA"}),
        ),
    ];
    let mut keys: Vec<Value> = cases.iter().map(|(_, _, key)| key.clone()).collect();
    keys.extend([json!(7), json!({"kty": []}), rsa.jwk("good")]);
    let issuers = issuers(&Server::with(&keys));
    for (pair, kid, _) in &cases {
        let refused = issuers.verify(&pair.token(kid, &claims()), NOW);
        assert!(
            matches!(refused, Err(TokenError::RefusedKey(_))),
            "{kid} {refused:?}"
        );
    }
    assert!(issuers.verify(&rsa.token("good", &claims()), NOW).is_ok());
}

#[test]
fn the_configuration_is_checked() {
    let fault = |change: fn(&mut IssuerConfig)| {
        let mut config = config();
        change(&mut config);
        let server = Box::new(Server::default());
        Issuers::new(vec![config], server)
            .expect_err("refused")
            .fault
    };
    assert_eq!(fault(|it| it.name.clear()), IssuerFault::Empty("name"));
    assert_eq!(
        fault(|it| it.audience.clear()),
        IssuerFault::Empty("audience")
    );
    let refused = fault(|it| it.environment = Some("A=B".to_owned()));
    assert_eq!(refused, IssuerFault::Environment("A=B".to_owned()));
    let refused = fault(|it| it.principal = "{repository}".to_owned());
    assert_eq!(refused, IssuerFault::Template(TemplateError::Kind));
    let refused = fault(|it| it.url = "http://issuer.test".to_owned());
    assert!(matches!(refused, IssuerFault::Url(UrlError::Clear(_))));
    let refused = fault(|it| it.url = "http://127.0.0.1.evil.test".to_owned());
    assert!(matches!(refused, IssuerFault::Url(UrlError::Clear(_))));
    let refused = fault(|it| it.url = "https://user@issuer.test".to_owned());
    assert!(matches!(refused, IssuerFault::Url(UrlError::Extra(_))));
    for url in [
        "issuer.test",
        "/x",
        "file:///etc/passwd",
        "https://",
        "ftp://127.0.0.1",
    ] {
        let mut config = config();
        config.url = url.to_owned();
        let refused = Issuers::new(vec![config], Box::new(Server::default()));
        let refused = refused.expect_err("refused").fault;
        assert!(
            matches!(refused, IssuerFault::Url(UrlError::Malformed(_))),
            "{url}"
        );
    }
    let twice = Issuers::new(vec![config(), config()], Box::new(Server::default()));
    assert_eq!(
        twice.expect_err("refused").fault,
        IssuerFault::Twice("name")
    );
    let mut other = config();
    other.name = "other".to_owned();
    let twice = Issuers::new(vec![config(), other], Box::new(Server::default()));
    assert_eq!(twice.expect_err("refused").fault, IssuerFault::Twice("url"));
    assert_eq!(
        issuers(&Server::default()).variables().collect::<Vec<_>>(),
        ["GATEWAY_ID_TOKEN"]
    );
}
