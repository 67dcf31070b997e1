//! The person with a browser: follows the provider's pages, and fills in its forms.
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use ureq::Agent;
use ureq::http::{Response, header};

/// A sign-in is two forms and a few redirections; what takes more goes in circles.
const PAGES_MAX: usize = 20;
const TIMEOUT: Duration = Duration::from_secs(20);

/// Talks to the provider alone, follows nothing, and takes every status for an answer.
pub(super) fn agent() -> Agent {
    Agent::config_builder()
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .timeout_global(Some(TIMEOUT))
        // A provider that was stopped leaves connections that are dead.
        .max_idle_connections(0)
        .build()
        .new_agent()
}

/// Where the browser is.
pub(super) struct Page {
    url: String,
    status: u16,
    body: String,
    /// The provider sends the browser away, to the client.
    pub(super) leaves_for: Option<String>,
}

impl Page {
    pub(super) fn is_success(&self) -> bool {
        self.status == 200
    }

    pub(super) fn contains(&self, text: &str) -> bool {
        self.body.contains(text)
    }

    /// The value of a hidden field.
    fn hidden(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.body.split_once(&format!("name=\"{name}\" value=\""))?;
        Some(rest.split_once('"')?.0)
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}:\n{}", self.status, self.url, self.body)?;
        match &self.leaves_for {
            Some(address) => write!(f, "\non its way to {address}"),
            None => Ok(()),
        }
    }
}

/// One browser with its cookies, for one sign-in at one provider.
pub(super) struct Browser<'a> {
    issuer: &'a str,
    agent: Agent,
    cookies: BTreeMap<String, String>,
}

impl Browser<'_> {
    pub(super) fn open(issuer: &str) -> Browser<'_> {
        Browser {
            issuer,
            agent: agent(),
            cookies: BTreeMap::new(),
        }
    }

    /// Types the code at the verification page, and presses this button.
    pub(super) fn enter_code(&mut self, user_code: &str, button: &str) -> Result<Page> {
        let url = format!("{}/device", self.issuer);
        let page = self.get(&url)?;
        let xsrf = page.hidden("xsrf").with_context(|| page.to_string())?;
        let entered = self.post(&url, &[("xsrf", xsrf), ("user_code", user_code)])?;
        // The confirming page quotes the code; any other is about what is wrong with it.
        let xsrf = entered
            .hidden("confirm")
            .and_then(|_| entered.hidden("xsrf"))
            .with_context(|| format!("the code is not taken: {entered}"))?;
        self.post(
            &url,
            &[("xsrf", xsrf), ("user_code", user_code), (button, "yes")],
        )
    }

    /// Signs in and consents, as often as the provider asks, until it asks no more.
    pub(super) fn sign_in(&mut self, mut page: Page, account: &str) -> Result<Page> {
        for _ in 0..PAGES_MAX {
            let url = page.url.clone();
            page = match page.hidden("prompt") {
                Some("login") => {
                    let form = [("prompt", "login"), ("login", account), ("password", "any")];
                    self.post(&url, &form)?
                }
                Some("consent") => self.post(&url, &[("prompt", "consent")])?,
                _ => return Ok(page),
            };
        }
        bail!("the provider goes on asking: {page}")
    }

    pub(super) fn get(&mut self, url: &str) -> Result<Page> {
        let request = self.agent.get(url).header(header::COOKIE, self.jar());
        let response = request.call().with_context(|| url.to_owned())?;
        self.arrive(url, response)
    }

    fn post(&mut self, url: &str, form: &[(&str, &str)]) -> Result<Page> {
        let request = self.agent.post(url).header(header::COOKIE, self.jar());
        let response = request
            .send_form(form.iter().copied())
            .with_context(|| url.to_owned())?;
        self.arrive(url, response)
    }

    /// Follows redirections within the provider.
    fn arrive(&mut self, url: &str, response: Response<ureq::Body>) -> Result<Page> {
        let mut url = url.to_owned();
        let mut response = response;
        for _ in 0..PAGES_MAX {
            self.keep_cookies(&response);
            let location = response.headers().get(header::LOCATION);
            let location = match location.filter(|_| response.status().is_redirection()) {
                Some(location) => Some(self.absolute(location.to_str()?)),
                None => None,
            };
            match location {
                Some(next) if next.starts_with(&format!("{}/", self.issuer)) => {
                    let request = self.agent.get(&next).header(header::COOKIE, self.jar());
                    response = request.call().with_context(|| next.clone())?;
                    url = next;
                }
                leaves_for => {
                    return Ok(Page {
                        url,
                        status: response.status().as_u16(),
                        body: response.body_mut().read_to_string()?,
                        leaves_for,
                    });
                }
            }
        }
        bail!("{url} goes in circles")
    }

    fn absolute(&self, location: &str) -> String {
        if location.starts_with('/') {
            format!("{}{location}", self.issuer)
        } else {
            location.to_owned()
        }
    }

    /// One provider and one sign-in: paths and ages of cookies make no difference, only that a
    /// cookie without a value is one that goes.
    fn keep_cookies(&mut self, response: &Response<ureq::Body>) {
        for cookie in response.headers().get_all(header::SET_COOKIE) {
            let pair = cookie.to_str().ok().and_then(|text| text.split(';').next());
            match pair.and_then(|pair| pair.split_once('=')) {
                Some((name, "")) => drop(self.cookies.remove(name)),
                Some((name, value)) => drop(self.cookies.insert(name.into(), value.into())),
                None => {}
            }
        }
    }

    fn jar(&self) -> String {
        let pairs = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }
}
