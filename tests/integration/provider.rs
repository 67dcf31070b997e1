//! The OpenID provider of the harness: a test about tokens that stands on a broken issuer proves
//! nothing. Needs no daemon.
use gateway_tests::Provider;
use gateway_tests::provider::{AUDIENCE, Minting, PUBLIC_CLIENT};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Or the test is noted as skipped.
fn provider(algorithms: &[&str]) -> Option<Provider> {
    Provider::start_or_skip(algorithms).unwrap()
}

fn key_ids(provider: &Provider) -> Vec<String> {
    let published = provider.get("/jwks").unwrap();
    let keys = published["keys"].as_array().unwrap();
    keys.iter()
        .map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

#[test]
fn it_publishes_its_address_and_its_public_keys() {
    let Some(provider) = provider(&["RS256", "ES256", "EdDSA"]) else {
        return;
    };
    let discovery = provider.get("/.well-known/openid-configuration").unwrap();
    assert_eq!(discovery["issuer"], provider.issuer());
    let keys = provider.get("/jwks").unwrap()["keys"].clone();
    let algorithms: Vec<&Value> = keys
        .as_array()
        .unwrap()
        .iter()
        .map(|key| &key["alg"])
        .collect();
    assert_eq!(algorithms, ["RS256", "ES256", "EdDSA"]);
    assert!(
        keys.as_array()
            .unwrap()
            .iter()
            .all(|key| key.get("d").is_none()),
        "a private key is published"
    );
}

#[test]
fn a_token_of_each_algorithm_verifies_against_the_published_keys() {
    let Some(provider) = provider(&["RS256", "ES256", "EdDSA"]) else {
        return;
    };
    let claims = json!({ "repository": "acme/api", "ref": "refs/heads/main", "iat": null });
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let minting = Minting {
            algorithm: Some(algorithm),
            ..Minting::default()
        };
        let token = provider.token_with(&claims, &minting).unwrap();
        let verified = provider.verify(&token).unwrap();
        assert_eq!(verified["iss"], provider.issuer());
        assert_eq!(verified["aud"], AUDIENCE);
        assert_eq!(verified["repository"], "acme/api");
        assert!(verified.get("iat").is_none(), "null takes a claim away");
        let left = verified["exp"].as_i64().unwrap() - now();
        assert!((290..=300).contains(&left), "{left}");
    }
    let first = provider.verify(&provider.token(&json!({})).unwrap());
    let second = provider.verify(&provider.token(&json!({})).unwrap());
    assert_ne!(first.unwrap()["jti"], second.unwrap()["jti"]);
}

#[test]
fn bad_tokens_are_bad_in_the_one_way_that_was_asked_for() {
    let Some(provider) = provider(&["RS256"]) else {
        return;
    };
    let minted = |minting: Minting| {
        let token = provider.token_with(&json!({}), &minting).unwrap();
        provider.verify(&token)
    };
    let expired = minted(Minting {
        expires_in_seconds: Some(-60),
        ..Minting::default()
    });
    assert!(expired.unwrap()["exp"].as_i64().unwrap() <= now() - 60);
    let elsewhere = minted(Minting {
        audience: Some("another".to_owned()),
        ..Minting::default()
    });
    assert_eq!(elsewhere.unwrap()["aud"], "another");

    let refused = |minting: Minting| format!("{:#}", minted(minting).unwrap_err());
    let foreign = refused(Minting {
        foreign: true,
        ..Minting::default()
    });
    assert!(
        foreign.contains("the signature does not match"),
        "{foreign}"
    );
    let unknown = refused(Minting {
        key_id: Some("nobody".to_owned()),
        ..Minting::default()
    });
    assert!(
        unknown.contains("the issuer has no key nobody"),
        "{unknown}"
    );
    let unsigned = refused(Minting {
        algorithm: Some("none"),
        ..Minting::default()
    });
    assert!(unsigned.contains("none is not accepted"), "{unsigned}");

    let keyless = Minting {
        algorithm: Some("ES256"),
        ..Minting::default()
    };
    assert!(
        provider.token_with(&json!({}), &keyless).is_err(),
        "it has no such key"
    );
}

#[test]
fn keys_rotate_with_and_without_an_overlap() {
    let Some(provider) = provider(&["ES256"]) else {
        return;
    };
    let before = key_ids(&provider);
    let old = provider.token(&json!({})).unwrap();

    provider.rotate_keys_to(Some(&["EdDSA"]), true).unwrap();
    let both = key_ids(&provider);
    assert_eq!(both.len(), 2);
    assert_eq!(both.last(), before.last(), "the old one stays behind");
    provider.verify(&old).unwrap();

    provider.rotate_keys_to(Some(&["ES256"]), false).unwrap();
    let after = key_ids(&provider);
    assert_eq!(after.len(), 1);
    assert!(!both.contains(&after[0]));
    assert!(provider.verify(&old).is_err(), "the old one is gone");
    provider.rotate_keys().unwrap();
    assert_ne!(key_ids(&provider), after);
    let fresh = provider.token(&json!({})).unwrap();
    provider.verify(&fresh).unwrap();
}

#[test]
fn it_goes_down_and_comes_back_as_it_was() {
    let Some(mut provider) = provider(&["ES256"]) else {
        return;
    };
    let issuer = provider.issuer().to_owned();
    let token = provider.token(&json!({})).unwrap();
    let keys = key_ids(&provider);
    provider.stop();
    assert!(provider.get("/jwks").is_err());
    assert!(provider.token(&json!({})).is_err());
    provider.start_again().unwrap();
    assert_eq!(provider.issuer(), issuer);
    assert_eq!(key_ids(&provider), keys);
    provider.verify(&token).unwrap();
}

#[test]
fn client_credentials_give_a_token_with_the_claims_of_the_request() {
    let Some(provider) = provider(&["EdDSA"]) else {
        return;
    };
    let claims = json!({ "groups": ["deploy"], "jti": "once" });
    let token = provider.client_token(&claims).unwrap();
    let verified = provider.verify(&token).unwrap();
    assert_eq!(verified["sub"], "ci");
    assert_eq!(verified["aud"], AUDIENCE);
    assert_eq!(verified["groups"], json!(["deploy"]));
    assert_eq!(verified["jti"], "once");
}

#[test]
fn the_device_flow_signs_a_person_in() {
    let Some(provider) = provider(&["ES256"]) else {
        return;
    };
    let alice = json!({ "email": "alice@acme.com", "groups": ["oncall", "db"] });
    provider.set_account("alice", &alice).unwrap();
    let device = provider.begin_device().unwrap();
    let user_code = device["user_code"].as_str().unwrap();
    let device_code = device["device_code"].as_str().unwrap();
    let early = provider.device_tokens(device_code).unwrap_err().to_string();
    assert!(early.contains("authorization_pending"), "{early}");

    provider.approve_device(user_code, "alice").unwrap();
    let tokens = provider.device_tokens(device_code).unwrap();
    let claims = provider
        .verify(tokens["id_token"].as_str().unwrap())
        .unwrap();
    assert_eq!(claims["iss"], provider.issuer());
    assert_eq!(claims["aud"], PUBLIC_CLIENT);
    assert_eq!(claims["sub"], "alice");
    assert_eq!(claims["email"], "alice@acme.com");
    assert_eq!(claims["groups"], json!(["oncall", "db"]));
    assert!(
        provider.device_tokens(device_code).is_err(),
        "a code is good for one answer"
    );
    assert!(provider.approve_device(user_code, "mallory").is_err());
}

#[test]
fn a_device_that_the_person_refuses_gets_nothing() {
    let Some(provider) = provider(&["ES256"]) else {
        return;
    };
    assert!(provider.approve_device("BBBB-BBBB", "alice").is_err());
    let device = provider.begin_device().unwrap();
    provider
        .deny_device(device["user_code"].as_str().unwrap())
        .unwrap();
    let device_code = device["device_code"].as_str().unwrap();
    let refused = provider.device_tokens(device_code).unwrap_err().to_string();
    assert!(refused.contains("access_denied"), "{refused}");
}

#[test]
fn the_code_flow_signs_a_person_in_and_wants_the_verifier() {
    // The pair of RFC 7636, appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    const REDIRECT: &str = "http://127.0.0.1:7777/callback";
    let Some(provider) = provider(&["ES256"]) else {
        return;
    };
    let url = format!(
        "{}/auth?client_id={PUBLIC_CLIENT}&response_type=code&scope=openid%20email%20groups\
         &redirect_uri={REDIRECT}&state=s1&nonce=n1&code_challenge_method=S256\
         &code_challenge={CHALLENGE}",
        provider.issuer()
    );
    let code = || {
        let back = provider.authorize(&url, "bob").unwrap();
        assert!(back.starts_with(&format!("{REDIRECT}?")), "{back}");
        assert!(back.contains("state=s1"), "{back}");
        let (_, code) = back.split_once("code=").unwrap();
        code.split('&').next().unwrap().to_owned()
    };
    let redeem = |code: &str, verifier: &str| {
        provider.post_form(
            "/token",
            &[
                ("grant_type", "authorization_code"),
                ("client_id", PUBLIC_CLIENT),
                ("redirect_uri", REDIRECT),
                ("code", code),
                ("code_verifier", verifier),
            ],
        )
    };
    let tokens = redeem(&code(), VERIFIER).unwrap();
    let claims = provider
        .verify(tokens["id_token"].as_str().unwrap())
        .unwrap();
    assert_eq!(claims["email"], "bob@example.test");
    assert_eq!(claims["nonce"], "n1");
    let stolen = redeem(&code(), &VERIFIER.replace('d', "e")).unwrap_err();
    assert!(stolen.to_string().contains("invalid_grant"), "{stolen}");
}
