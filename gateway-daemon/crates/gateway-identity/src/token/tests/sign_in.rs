//! Sign-ins against an issuer that says whatever a test wants.
use super::*;
use crate::token::fetch::Posted;
use std::collections::VecDeque;
use std::time::Duration;

const CLIENT: &str = "gateway-cli";

/// What was posted where.
type Forms = Vec<(String, Vec<(String, String)>)>;

/// A status and a body. `None`: the connection fails.
type Answer = Option<(u16, Value)>;

/// An issuer with a token endpoint whose answers are written in advance.
#[derive(Clone, Default)]
struct Provider {
    server: Server,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    forms: Arc<Mutex<Forms>>,
}

impl Provider {
    fn new(pair: &Pair) -> Provider {
        let provider = Provider {
            server: Server::with(&[pair.jwk("a")]),
            ..Provider::default()
        };
        provider.names(json!({}));
        provider
    }

    /// Names these endpoints over the right ones; null takes one away.
    fn names(&self, over: Value) {
        let mut document = json!({
            "issuer": URL, "jwks_uri": "https://keys.test/jwks",
            "authorization_endpoint": "https://issuer.test/authorize?tenant=1",
            "token_endpoint": "https://issuer.test/token",
            "device_authorization_endpoint": "https://issuer.test/device",
        });
        for (key, value) in over.as_object().expect("object") {
            document[key] = value.clone();
        }
        *self.server.discovery.lock() = Some(document);
    }

    fn answers(&self, status: u16, body: Value) {
        self.answers.lock().push_back(Some((status, body)));
    }

    fn refuses(&self, error: &str) {
        self.answers(
            400,
            json!({ "error": error, "error_description": "in other words" }),
        );
    }

    fn is_out_of_reach(&self) {
        self.answers.lock().push_back(None);
    }

    fn posted(&self) -> (String, Vec<(String, String)>) {
        self.forms.lock().pop().expect("a form")
    }

    fn issuers(&self) -> Arc<Issuers> {
        let configs = vec![person_config()];
        Arc::new(Issuers::new(configs, Box::new(self.clone())).expect("issuers"))
    }

    fn client(&self) -> SignInClient {
        self.issuers().sign_in(None).expect("client")
    }

    fn device(&self) -> (SignInClient, Device) {
        let client = self.client();
        self.answers(200, begun());
        let device = client.begin_device().expect("device");
        (client, device)
    }
}

impl Fetch for Provider {
    fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        self.server.get(url)
    }

    fn post_form(&self, url: &str, form: &[(&str, &str)]) -> Result<Posted, FetchError> {
        let form = form
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()));
        self.forms.lock().push((url.to_owned(), form.collect()));
        match self
            .answers
            .lock()
            .pop_front()
            .expect("an answer is written")
        {
            Some((status, body)) => Ok(Posted {
                status,
                body: body.to_string().into_bytes(),
            }),
            None => Err(FetchError {
                url: url.to_owned(),
                reason: "connection refused".to_owned(),
            }),
        }
    }
}

fn person_config() -> IssuerConfig {
    IssuerConfig {
        principal: "user:{email}".to_owned(),
        client_id: Some(CLIENT.to_owned()),
        ..config()
    }
}

fn begun() -> Value {
    json!({
        "device_code": "secret-device-code", "user_code": "ABCD-EFGH",
        "verification_uri": "https://issuer.test/device",
        "verification_uri_complete": "https://issuer.test/device?user_code=ABCD-EFGH",
        "expires_in": 600, "interval": 2,
    })
}

/// What an ID token of alice says, with these claims over it; null takes one away.
fn alice(over: Value) -> Value {
    let now = NOW.0 / SECOND;
    let mut claims = json!({
        "iss": URL, "aud": CLIENT, "sub": "alice", "exp": now + 300, "iat": now,
        "email": "alice@acme.test", "email_verified": true, "groups": ["dba"], "nonce": "n-1",
    });
    for (key, value) in over.as_object().expect("object") {
        match value {
            Value::Null => drop(claims.as_object_mut().expect("object").remove(key)),
            value => claims[key] = value.clone(),
        }
    }
    claims
}

fn value<'a>(form: &'a [(String, String)], key: &str) -> &'a str {
    let found = form.iter().find(|(name, _)| name == key);
    found.map_or("", |(_, value)| value)
}

#[test]
fn a_device_is_approved_by_a_person() {
    let pair = Pair::p256();
    let provider = Provider::new(&pair);
    let (client, mut device) = provider.device();
    let (url, form) = provider.posted();
    assert_eq!(url, "https://issuer.test/device");
    assert_eq!(value(&form, "client_id"), CLIENT);
    assert_eq!(value(&form, "scope"), "openid email groups");
    assert_eq!(device.user_code, "ABCD-EFGH");
    assert_eq!(device.expires_in, Duration::from_secs(600));
    assert_eq!(device.interval(), Duration::from_secs(2));
    assert!(!format!("{device:?}").contains("secret-device-code"));

    provider.refuses("authorization_pending");
    assert!(client.ask(&mut device).expect("pending").is_none());
    assert_eq!(device.interval(), Duration::from_secs(2));
    provider.refuses("slow_down");
    assert!(client.ask(&mut device).expect("pending").is_none());
    assert_eq!(device.interval(), Duration::from_secs(7));
    // Out of reach, or ill: not the end.
    provider.is_out_of_reach();
    assert!(client.ask(&mut device).expect("pending").is_none());
    assert_eq!(device.interval(), Duration::from_secs(14));
    provider.answers(503, json!({ "error": "authorization_pending" }));
    assert!(client.ask(&mut device).expect("pending").is_none());
    assert_eq!(device.interval(), Duration::from_secs(28));

    let token = pair.token("a", &alice(json!({})));
    provider.answers(200, json!({ "access_token": "x", "id_token": token }));
    let token = client.ask(&mut device).expect("approved").expect("a token");
    let (url, form) = provider.posted();
    assert_eq!(url, "https://issuer.test/token");
    assert_eq!(value(&form, "device_code"), "secret-device-code");
    assert_eq!(value(&form, "client_id"), CLIENT);
    assert_eq!(
        value(&form, "grant_type"),
        "urn:ietf:params:oauth:grant-type:device_code"
    );
    let verified = client.verify(&token, None, NOW).expect("alice");
    assert_eq!(&*verified.principal.id, "user:alice@acme.test");
    assert_eq!(verified.principal.groups, ["dba".into()]);
    assert_eq!(&*verified.issuer, "github");
}

#[test]
fn a_sign_in_that_fails_says_how() {
    let provider = Provider::new(&Pair::p256());
    let (client, mut device) = provider.device();
    let mut ask = |status: u16, body: Value| {
        provider.answers(status, body);
        client.ask(&mut device).expect_err("no")
    };
    let error = |code: &str| json!({ "error": code });
    assert_eq!(ask(400, error("access_denied")), SignInError::Denied);
    assert_eq!(ask(400, error("expired_token")), SignInError::Expired);
    let refused = |error: &str| SignInError::Refused {
        issuer: "github".into(),
        error: error.to_owned(),
    };
    assert_eq!(ask(401, error("invalid_client")), refused("invalid_client"));
    assert_eq!(ask(400, error("a\u{1b}[2J")), refused("a\\u{1b}[2J"));
    // An answer without what was asked for is no sign-in.
    let without = ask(200, json!({ "access_token": "x" }));
    assert_eq!(without, refused("it gives no ID token"));
}

#[test]
fn what_people_are_shown_is_checked() {
    let provider = Provider::new(&Pair::p256());
    let client = provider.client();
    let mut bad = Vec::new();
    for (key, wrong) in [
        ("verification_uri", json!("http://issuer.test/device")),
        ("verification_uri", json!("javascript:alert(1)")),
        ("verification_uri", json!("http://127.0.0.1/device")),
        (
            "verification_uri",
            json!(format!("https://a/{}", "x".repeat(2048))),
        ),
        (
            "verification_uri_complete",
            json!("https://evil@issuer.test/"),
        ),
        ("user_code", json!("")),
        ("user_code", json!("A\u{1b}[2J")),
        ("user_code", json!("x".repeat(65))),
        ("device_code", json!("")),
        ("expires_in", json!(-1)),
        ("expires_in", Value::Null),
        ("interval", json!("5")),
    ] {
        let mut answer = begun();
        answer[key] = wrong.clone();
        provider.answers(200, answer);
        if !matches!(client.begin_device(), Err(SignInError::Unavailable { .. })) {
            bad.push((key, wrong));
        }
    }
    assert!(bad.is_empty(), "{bad:?}");
    let mut answer = begun();
    answer["interval"] = json!(u64::MAX);
    answer["expires_in"] = json!(u64::MAX);
    provider.answers(200, answer);
    let device = client.begin_device().expect("device");
    assert_eq!(device.interval(), Duration::from_secs(60));
    assert_eq!(device.expires_in, Duration::from_secs(900));
}

#[test]
fn endpoints_are_as_protected_as_the_issuer() {
    let provider = Provider::new(&Pair::p256());
    for clear in [
        "http://issuer.test/x",
        "http://127.0.0.1/x",
        "/x",
        "https://a@issuer.test/x",
    ] {
        provider.names(json!({
            "device_authorization_endpoint": clear,
            "authorization_endpoint": clear, "token_endpoint": clear,
        }));
        let client = provider.client();
        let unavailable = |error: SignInError| {
            assert!(matches!(error, SignInError::Unavailable { .. }), "{error}")
        };
        unavailable(client.begin_device().expect_err(clear));
        unavailable(
            client
                .exchange("c", "v", "https://gateway.test/callback")
                .expect_err(clear),
        );
        unavailable(client.authorization_url(&authorization()).expect_err(clear));
    }
    assert!(provider.forms.lock().is_empty(), "nothing was posted there");
    provider.names(json!({ "device_authorization_endpoint": null }));
    let missing = provider.client().begin_device().expect_err("missing");
    assert!(
        missing
            .to_string()
            .contains("device_authorization_endpoint"),
        "{missing}"
    );
    provider.names(json!({ "issuer": "https://another.test" }));
    let another = provider
        .issuers()
        .sign_in(None)
        .expect_err("of another issuer");
    assert!(another.to_string().contains("another issuer"), "{another}");
}

fn authorization() -> Authorization<'static> {
    Authorization {
        redirect_uri: "https://gateway.test/callback",
        state: "s 1",
        nonce: "n-1",
        challenge: "c-1",
    }
}

#[test]
fn a_browser_comes_back_with_a_code() {
    let pair = Pair::p256();
    let provider = Provider::new(&pair);
    let client = provider.client();
    assert_eq!(
        client.authorization_url(&authorization()).expect("address"),
        "https://issuer.test/authorize?tenant=1&response_type=code&client_id=gateway-cli&\
         redirect_uri=https%3A%2F%2Fgateway.test%2Fcallback&scope=openid+email+groups&state=s+1&\
         nonce=n-1&code_challenge=c-1&code_challenge_method=S256"
    );
    let token = pair.token("a", &alice(json!({})));
    provider.answers(200, json!({ "id_token": token }));
    let token = client
        .exchange("code 1", "verifier", "https://gateway.test/callback")
        .expect("a token");
    let (url, form) = provider.posted();
    assert_eq!(url, "https://issuer.test/token");
    for (key, expected) in [
        ("grant_type", "authorization_code"),
        ("code", "code 1"),
        ("code_verifier", "verifier"),
        ("redirect_uri", "https://gateway.test/callback"),
        ("client_id", CLIENT),
    ] {
        assert_eq!(value(&form, key), expected, "{key}");
    }
    assert!(client.verify(&token, Some("n-1"), NOW).is_ok());
    for other in ["", "n-2", "n-1 ", "N-1"] {
        let refused = client.verify(&token, Some(other), NOW);
        assert_eq!(refused, Err(TokenError::Nonce), "{other:?}");
    }
    provider.refuses("invalid_grant");
    let refused = client.exchange("code 1", "verifier", "https://gateway.test/callback");
    let refused = refused.expect_err("used").to_string();
    assert!(refused.contains("invalid_grant"), "{refused}");
}

#[test]
fn an_id_token_is_for_the_client_and_for_nobody_else() {
    let pair = Pair::p256();
    let provider = Provider::new(&pair);
    let client = provider.client();
    let judged = |claims: &Value| {
        let token = IdToken(pair.token("a", claims));
        client.verify(&token, None, NOW)
    };
    let elsewhere = Err(TokenError::Audience(CLIENT.to_owned()));
    assert!(judged(&alice(json!({}))).is_ok());
    assert!(judged(&alice(json!({ "aud": [CLIENT] }))).is_ok());
    assert!(judged(&alice(json!({ "aud": [CLIENT, "other"], "azp": CLIENT }))).is_ok());
    for over in [
        json!({ "aud": "gateway" }),
        json!({ "aud": "other", "azp": CLIENT }),
        json!({ "aud": null }),
        json!({ "aud": [] }),
        json!({ "aud": [CLIENT, "other"] }),
        json!({ "azp": "other" }),
        json!({ "azp": 1 }),
    ] {
        assert_eq!(judged(&alice(over.clone())), elsewhere, "{over}");
    }
    let old = alice(json!({ "exp": NOW.0 / SECOND }));
    assert_eq!(judged(&old), Err(TokenError::Expired));
    let foreign = judged(&alice(json!({ "iss": "https://another.test" })));
    assert!(
        matches!(foreign, Err(TokenError::UnknownIssuer(_))),
        "{foreign:?}"
    );
    // A nonce that is expected and missing.
    let bare = IdToken(pair.token("a", &alice(json!({ "nonce": null }))));
    let nonce = client.verify(&bare, Some("n-1"), NOW);
    assert_eq!(nonce, Err(TokenError::Nonce));
    assert_eq!(client.verify(&bare, Some(""), NOW), Err(TokenError::Nonce));
    // Signed by somebody else.
    let forged = IdToken(Pair::p256().token("a", &alice(json!({}))));
    assert_eq!(
        client.verify(&forged, None, NOW),
        Err(TokenError::Signature)
    );
    let access = json!({ "typ": "at+jwt", "alg": "ES256", "kid": "a" });
    let access = IdToken(pair.token_with(&access, &alice(json!({}))));
    let refused = client.verify(&access, None, NOW);
    assert!(
        matches!(refused, Err(TokenError::Malformed(_))),
        "{refused:?}"
    );

    // Neither is taken for the other.
    let issuers = provider.issuers();
    let as_job = issuers.verify(&pair.token("a", &alice(json!({}))), NOW);
    assert_eq!(as_job, Err(TokenError::Audience("gateway".to_owned())));
    let job = alice(json!({ "aud": "gateway" }));
    assert!(issuers.verify(&pair.token("a", &job), NOW).is_ok());
    assert_eq!(judged(&job), elsewhere);
}

#[test]
fn an_issuer_is_chosen_by_name_or_because_there_is_one() {
    let other = |name: &str, client: Option<&str>| IssuerConfig {
        name: name.to_owned(),
        url: format!("https://{name}.test"),
        client_id: client.map(str::to_owned),
        ..config()
    };
    let provider = Provider::new(&Pair::p256());
    let chosen = |configs: Vec<IssuerConfig>, name: Option<&str>| {
        let issuers = Issuers::new(configs, Box::new(provider.clone())).expect("issuers");
        let client = Arc::new(issuers).sign_in(name);
        client.map(|client| client.issuer().to_owned())
    };
    let jobs = || other("jobs", None);
    let people = person_config;
    assert_eq!(chosen(vec![jobs(), people()], None), Ok("github".into()));
    assert_eq!(
        chosen(vec![jobs(), people()], Some("github")),
        Ok("github".into())
    );
    assert_eq!(
        chosen(vec![jobs(), people()], Some("jobs")),
        Err(SignInError::Unknown("jobs".into()))
    );
    assert_eq!(chosen(vec![jobs()], None), Err(SignInError::NoClient));
    assert_eq!(
        chosen(vec![people(), other("b", Some("x"))], None),
        Err(SignInError::Several("github, b".into()))
    );
    let empty = Issuers::new(vec![other("b", Some(""))], Box::new(provider.clone()));
    assert_eq!(
        empty.expect_err("empty").fault,
        IssuerFault::Empty("client_id")
    );
}

/// Whoever may choose their address at the issuer could choose another's.
#[test]
fn an_address_that_is_not_verified_is_nobodys() {
    let pair = Pair::p256();
    let provider = Provider::new(&pair);
    let client = |unverified_email: bool| {
        let config = IssuerConfig {
            unverified_email,
            ..person_config()
        };
        let issuers = Issuers::new(vec![config], Box::new(provider.clone())).expect("issuers");
        Arc::new(issuers).sign_in(None).expect("client")
    };
    let (strict, lax) = (client(false), client(true));
    for said in [json!(false), json!("no"), json!(1), Value::Null] {
        let token = IdToken(pair.token("a", &alice(json!({ "email_verified": said }))));
        let refused = strict.verify(&token, Some("n-1"), NOW);
        assert_eq!(refused, Err(TokenError::UnverifiedEmail), "{said}");
        assert!(lax.verify(&token, Some("n-1"), NOW).is_ok(), "{said}");
    }
}
