//! Secrets of services that mark theirs with a prefix, so that they can be found.
//!
//! The prefixes, and which characters follow, are those that the services document; lengths are
//! the shortest that are given out, and a longer one is taken to its end:
//!
//! - AWS: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>
//! - GitHub: <https://github.blog/changelog/2021-03-31-authentication-token-format-updates-are-generally-available>
//! - GitLab: <https://docs.gitlab.com/security/tokens/#token-prefixes>
//! - Slack: <https://docs.slack.dev/authentication/tokens>
//! - Stripe: <https://docs.stripe.com/keys>
//! - Google: <https://cloud.google.com/docs/authentication/api-keys>
//! - SendGrid: <https://www.twilio.com/docs/sendgrid/ui/account-and-settings/api-keys>
//! - Hashicorp Vault: <https://developer.hashicorp.com/vault/docs/concepts/tokens>
//! - the others: <https://docs.github.com/en/code-security/reference/secret-security/supported-secret-scanning-patterns>
use super::{begins_word, end_of, is_base64url};
use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind};
use std::ops::Range;
use std::sync::LazyLock;

/// Secrets of one service.
struct Service {
    prefix: &'static str,
    /// What may follow.
    part: fn(u8) -> bool,
    /// How much must follow, in bytes.
    length_min: usize,
    /// No more than that follows.
    exact: bool,
}

const fn service(prefix: &'static str, part: fn(u8) -> bool, length_min: usize) -> Service {
    Service {
        prefix,
        part,
        length_min,
        exact: false,
    }
}

/// Where the prefix is short, or could be a word.
const fn exact(prefix: &'static str, part: fn(u8) -> bool, length: usize) -> Service {
    Service {
        exact: true,
        ..service(prefix, part, length)
    }
}

const HEX: fn(u8) -> bool = |byte| byte.is_ascii_hexdigit();
const LETTERS: fn(u8) -> bool = |byte| byte.is_ascii_alphanumeric();
const CAPITALS: fn(u8) -> bool = |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit();
const WORD: fn(u8) -> bool = |byte| byte.is_ascii_alphanumeric() || byte == b'_';
const URL: fn(u8) -> bool = is_base64url;
const DOTS: fn(u8) -> bool = |byte| is_base64url(byte) || byte == b'.';
const BASE64: fn(u8) -> bool = |byte| is_base64url(byte) || matches!(byte, b'+' | b'/' | b'=');

#[rustfmt::skip]
static SERVICES: &[Service] = &[
    // AWS: keys, temporary keys, bearer tokens, credentials for one service.
    exact("AKIA", CAPITALS, 16), exact("ASIA", CAPITALS, 16),
    exact("ABIA", CAPITALS, 16), exact("ACCA", CAPITALS, 16),
    // GitHub. They may become as long as 255.
    service("ghp_", WORD, 36), service("gho_", WORD, 36), service("ghu_", WORD, 36),
    service("ghs_", WORD, 36), service("ghr_", WORD, 36), service("github_pat_", WORD, 36),
    // GitLab: personal, OAuth, deploy, runner, job, trigger, feed, mail, agent, workspace, SCIM,
    // feature flags. The newer ones have dots.
    service("glpat-", DOTS, 20), service("gloas-", DOTS, 20), service("gldt-", DOTS, 20),
    service("glrt-", DOTS, 20), service("glcbt-", DOTS, 20), service("glptt-", DOTS, 20),
    service("glft-", DOTS, 20), service("glimt-", DOTS, 20), service("glagent-", DOTS, 20),
    service("glwt-", DOTS, 20), service("glsoat-", DOTS, 20), service("glffct-", DOTS, 20),
    // Slack: bots, users, and the kinds before them; configuration, applications, workflows; the
    // address of a webhook is its secret.
    service("xoxb-", URL, 20), service("xoxp-", URL, 20), service("xoxa-", URL, 20),
    service("xoxr-", URL, 20), service("xoxs-", URL, 20), service("xoxc-", URL, 20),
    service("xoxd-", BASE64, 20), service("xoxe-", URL, 20), service("xoxe.", DOTS, 20),
    service("xapp-", URL, 20), service("xwfp-", URL, 20),
    service("hooks.slack.com/services/", BASE64, 30),
    // Stripe, also those for tests; what signs its webhooks.
    service("sk_live_", LETTERS, 16), service("rk_live_", LETTERS, 16),
    service("sk_test_", LETTERS, 16), service("rk_test_", LETTERS, 16),
    service("whsec_", BASE64, 24),
    // Google: keys, client secrets, access tokens.
    service("AIza", URL, 35), service("GOCSPX-", URL, 28), service("ya29.", DOTS, 30),
    // OpenAI, Anthropic, and others that speak as they do.
    service("sk-", URL, 32), service("xai-", LETTERS, 32), service("gsk_", LETTERS, 40),
    service("pplx-", LETTERS, 40), service("hf_", LETTERS, 34), service("r8_", LETTERS, 37),
    // Registries: npm, PyPI, RubyGems, Docker Hub.
    service("npm_", LETTERS, 36), service("pypi-AgE", URL, 50), service("rubygems_", HEX, 48),
    service("dckr_pat_", URL, 27), service("dckr_oat_", URL, 27),
    // Mail: SendGrid, Brevo.
    service("SG.", DOTS, 60), service("xkeysib-", URL, 64),
    // Clouds and platforms: Hashicorp Vault, DigitalOcean, Databricks, PlanetScale, Supabase,
    // Pulumi, Doppler, Fly.io.
    service("hvs.", URL, 24), service("hvb.", URL, 24), service("hvr.", URL, 24),
    service("dop_v1_", HEX, 64), service("doo_v1_", HEX, 64), service("dor_v1_", HEX, 64),
    exact("dapi", HEX, 32), service("pscale_tkn_", URL, 32), service("pscale_pw_", URL, 32),
    service("pscale_oauth_", URL, 32), service("sbp_", HEX, 40), service("sb_secret_", URL, 20),
    service("pul-", HEX, 40), service("dp.pt.", LETTERS, 40), service("dp.st.", DOTS, 40),
    service("fo1_", URL, 40),
    // Watching and shipping: Grafana, New Relic, Sentry, Buildkite, Postman, Linear, Notion.
    service("glsa_", WORD, 41), service("glc_", BASE64, 32), service("NRAK-", LETTERS, 27),
    service("sntrys_", BASE64, 40), service("sntryu_", HEX, 64), service("bkua_", HEX, 40),
    service("PMAK-", URL, 59), service("lin_api_", LETTERS, 40), service("ntn_", LETTERS, 40),
    // Shops: Shopify, Square.
    service("shpat_", HEX, 32), service("shpss_", HEX, 32), service("shpca_", HEX, 32),
    service("shppa_", HEX, 32), service("sq0atp-", URL, 22), service("sq0csp-", URL, 43),
    // Keepers of secrets: 1Password, age, Atlassian.
    service("ops_eyJ", BASE64, 100), service("AGE-SECRET-KEY-1", CAPITALS, 58),
    service("ATATT3", BASE64, 60),
];

/// Looks for all prefixes at once.
#[allow(
    clippy::expect_used,
    reason = "of constants: each test here would fail"
)]
static PREFIXES: LazyLock<AhoCorasick> = LazyLock::new(|| {
    // The fastest of its automata; there is one of it, of some hundred kilobytes.
    AhoCorasick::builder()
        .kind(Some(AhoCorasickKind::DFA))
        .match_kind(MatchKind::LeftmostLongest)
        .build(SERVICES.iter().map(|service| service.prefix))
        .expect("the prefixes are few and short")
});

/// What is no secret costs no more than the shortest secret would; what is one is not looked at
/// again.
pub(super) fn next(text: &[u8], at: &mut usize) -> Option<Range<usize>> {
    loop {
        let rest = Input::new(text).span(*at..text.len());
        let prefix = PREFIXES.find(rest)?;
        *at = prefix.start() + 1;
        let service = SERVICES.get(prefix.pattern().as_usize())?;
        if begins_word(text, prefix.start())
            && let Some(end) = end_of_secret(service, text, prefix.end())
        {
            *at = end;
            return Some(prefix.start()..end);
        }
    }
}

/// Where the secret ends whose prefix ends here.
fn end_of_secret(service: &Service, text: &[u8], from: usize) -> Option<usize> {
    let least = text.get(from..from + service.length_min)?;
    let is_whole = least.iter().all(|byte| (service.part)(*byte));
    // Names of styles and of variables have prefixes, too: `sk-folding-cube-…`.
    let is_random = least
        .iter()
        .any(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    if !is_whole || !is_random {
        return None;
    }
    let end = from + service.length_min;
    if service.exact {
        let goes_on = text.get(end).is_some_and(u8::is_ascii_alphanumeric);
        return (!goes_on).then_some(end);
    }
    let end = end_of(text, end, service.part);
    // A sentence may end behind it.
    let dots = text.get(from..end)?.iter().rev();
    Some(end - dots.take_while(|byte| **byte == b'.').count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::check;

    /// Put together here, so that nobody who looks for secrets finds some in this file.
    fn made(prefix: &str, length: usize) -> String {
        let tail: String = "0A1B2C3D4E5F67".chars().cycle().take(length).collect();
        format!("{prefix}{tail}")
    }

    #[test]
    fn each_service_is_found() {
        for service in SERVICES {
            let length = service.length_min;
            let secret = made(service.prefix, length);
            check(super::next, &format!("«{secret}»"));
            check(super::next, &format!("KEY=«{secret}»; x"));
            check(super::next, &format!("\"\\n«{secret}»\" %22«{secret}»%22"));
            check(super::next, &format!("{{«{secret}»}} “«{secret}»”"));
            check(super::next, &made(service.prefix, length - 1));
            check(super::next, &format!("x{secret}"));
            let lower = "a".repeat(length);
            check(super::next, &format!("{}{lower}", service.prefix));
            let longer = made(service.prefix, length + 40);
            match service.exact {
                true => check(super::next, &longer),
                false => check(super::next, &format!("«{longer}»")),
            }
        }
    }

    #[test]
    fn secrets_end_where_they_end() {
        let (github, gitlab, slack) = (made("ghp_", 36), made("glpat-", 20), made("xoxb-", 30));
        check(super::next, &format!("«{github}».«{gitlab}»."));
        check(super::next, &format!("https://ci:«{github}»@github.com/a"));
        check(
            super::next,
            &format!("«{slack}-{slack}»\n«{gitlab}.01.{slack}»"),
        );
        let twilio = format!("{}.{}", made("SG.", 22), made("", 43));
        check(super::next, &format!("Bearer «{twilio}»"));
        check(super::next, "aws: («AKIAIOSFODNN7EXAMPLE»)");
    }

    #[test]
    fn what_is_none_is_not() {
        for text in [
            "",
            "sk-",
            "ghp_",
            "sk-folding-cube-wrapper-of-the-first-kind",
            "a-task-0123456789abcdef0123456789abcdef",
            "npm_config_registry_of_the_company_0123456789",
            "AKIA",
            "AKIAIOSFODNN7EXAMPL",
            "AKIAIOSFODNN7EXAMPLEX",
            "akiaiosfodnn7example",
            "dapi0123456789abcdef0123456789abcdef0",
            "SG.a.b",
        ] {
            check(super::next, text);
        }
    }
}
