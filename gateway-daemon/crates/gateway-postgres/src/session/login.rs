//! From the StartupMessage to the first ReadyForQuery. What the client sends to prove who it is
//! passes unseen and is never recorded.
use super::inject::{Injection, Reason};
use super::serving::{Fault, Serving, Step, whole};
use super::{Channel, refusal};
use crate::codec::authentication::{self, Mechanisms, Request};
use crate::codec::{Header, response, startup};
use crate::error::Error;
use gateway_protocol::{Answer, Effects, ProtocolError};
use std::sync::Arc;

/// PostgreSQL takes no longer answer to an authentication request (`PG_MAX_AUTH_TOKEN_LENGTH`).
const ANSWER_BYTES_MAX: usize = 65_535 + 5;

/// How far the login is.
#[derive(Debug)]
pub(super) struct Login {
    /// The minor version of the protocol that was asked for, and then agreed on.
    minor: u16,
    /// The client asked for a newer one.
    lowered: bool,
    /// The upstream has said something.
    begun: bool,
    authenticated: bool,
    /// The operation `authenticate` was answered.
    completed: bool,
    channel: Channel,
    /// The upstream offers SCRAM that is bound to its certificate, and would take it for an attack
    /// if the client said that it could do that but was not offered it (RFC 5802, section 6).
    offers_binding: bool,
    /// The client's next message names a SASL mechanism.
    chooses: bool,
    /// The gateway logs in, and the client is asked for nothing.
    injection: Option<Injection>,
    bytes_up: u64,
    bytes_down: u64,
}

impl Login {
    pub(super) fn new(
        minor: u16,
        lowered: bool,
        bytes_up: usize,
        channel: Channel,
        injection: Option<Injection>,
    ) -> Login {
        Login {
            minor,
            lowered,
            begun: false,
            authenticated: false,
            completed: false,
            channel,
            offers_binding: false,
            chooses: false,
            injection,
            bytes_up: bytes_up as u64,
            bytes_down: 0,
        }
    }
}

impl Login {
    /// The first message of a SASL exchange says whether the client could bind it (the GS2 header
    /// of RFC 5801): `n` no, `y` yes, but it was not offered, `p` it does.
    fn check_choice(&mut self, body: &[u8]) -> Result<(), Error> {
        if !std::mem::take(&mut self.chooses) || !self.offers_binding {
            return Ok(());
        }
        let (_, said) = authentication::initial_response(body)?;
        match said.first() {
            Some(b'y' | b'p') => Err(Error::Binding),
            _ => Ok(()),
        }
    }
}

impl Serving {
    /// A message of the client. Only answers to authentication requests are sent at this point.
    pub(super) fn step_login_client(
        &mut self,
        header: Header,
        bytes: &[u8],
    ) -> Result<Step, Error> {
        match header.kind {
            b'p' => {
                let name = "the longest authentication message";
                let Some(body) = whole(header, bytes, ANSWER_BYTES_MAX, name)? else {
                    return Ok(Step::Wait);
                };
                if let Some(login) = &mut self.login {
                    if login.injection.is_some() {
                        // Nobody asked for it.
                        return Err(Error::Order);
                    }
                    login.bytes_up += header.size as u64;
                    login.check_choice(body)?;
                }
                Ok(Step::Pass(header.size))
            }
            b'X' => self.terminate(header, bytes),
            b'Q' | b'P' | b'B' | b'E' | b'D' | b'C' | b'H' | b'S' | b'F' | b'd' | b'c' | b'f' => {
                Err(Error::Order)
            }
            _ => Err(Error::Type),
        }
    }

    /// A message of the upstream.
    pub(super) fn step_login_upstream(
        &mut self,
        header: Header,
        bytes: &[u8],
        out: &mut dyn Effects,
    ) -> Result<Step, Fault> {
        let Some(body) = self.control(header, bytes)? else {
            return Ok(Step::Wait);
        };
        let Some(login) = &mut self.login else {
            return Err(Error::Order.into());
        };
        let begun = std::mem::replace(&mut login.begun, true);
        login.bytes_down += header.size as u64;
        if !begun && login.lowered && !matches!(header.kind, b'v' | b'E') {
            // It is the first message, so nothing waits to be passed before it.
            out.send_client(&response::negotiate(login.minor));
        }
        match header.kind {
            b'v' if !begun => {
                let minor = response::negotiated_minor(body)?;
                if minor > login.minor {
                    return Err(Error::Version.into());
                }
                login.minor = minor;
            }
            b'R' if !login.authenticated => return self.authentication(header.size, body, out),
            b'E' => return self.login_failed(header.size, body, out),
            b'K' if login.authenticated && self.cancel.is_none() => {
                return self.replace_key(header.size, body);
            }
            b'S' if login.authenticated => {
                let (name, value) = response::parameter_status(body)?;
                self.settings.reported(name, value);
            }
            b'Z' if login.authenticated => {
                self.transaction = response::ready(body)?;
                self.settings.begin();
                self.login = None;
            }
            b'N' => {}
            b'R' | b'K' | b'S' | b'Z' | b'v' => return Err(Error::Order.into()),
            _ => return Err(Error::Unasked.into()),
        }
        Ok(Step::Pass(header.size))
    }

    /// What the upstream wants to be shown.
    fn authentication(
        &mut self,
        size: usize,
        body: &[u8],
        out: &mut dyn Effects,
    ) -> Result<Step, Fault> {
        let request = authentication::request(body)?;
        let Some(login) = &mut self.login else {
            return Err(Error::Order.into());
        };
        if let Some(injection) = &mut login.injection {
            match injection.answer(request, login.channel.verified) {
                Err(reason) => return Err(self.not_logged_in(reason, out)),
                Ok(Some(answer)) => {
                    login.bytes_up += answer.len() as u64;
                    out.send_upstream(&self.admitted, &answer);
                    return Ok(Step::Drop(size));
                }
                Ok(None) if request != Request::Ok => return Ok(Step::Drop(size)),
                Ok(None) => {}
            }
        }
        match request {
            Request::Ok => {
                login.authenticated = true;
                self.complete_login(None, out)?;
            }
            Request::Sasl(mechanisms) => {
                login.chooses = true;
                if login.channel.upstream.is_some() {
                    return self.without_binding(size, mechanisms, out);
                }
            }
            Request::Ticket => return Err(self.not_passed_on(Error::Ticket, out)),
            Request::Cleartext
            | Request::Md5(_)
            | Request::SaslContinue(_)
            | Request::SaslFinal(_)
            | Request::Other => {}
        }
        Ok(Step::Pass(size))
    }

    /// A client sees the gateway's certificate and not the upstream's, so it cannot bind to it.
    fn without_binding(
        &mut self,
        size: usize,
        mechanisms: Mechanisms<'_>,
        out: &mut dyn Effects,
    ) -> Result<Step, Fault> {
        let binds = |name: &[u8]| name.ends_with(b"-PLUS");
        if !mechanisms.iter().any(binds) {
            return Ok(Step::Pass(size));
        }
        if mechanisms.iter().all(binds) {
            return Err(self.not_passed_on(Error::Binding, out));
        }
        if let Some(login) = &mut self.login {
            login.offers_binding = true;
        }
        let left = mechanisms.iter().filter(|name| !binds(name));
        Ok(Step::Replace(size, authentication::make_sasl(left)))
    }

    /// The client is told, and how the login went is recorded.
    fn not_passed_on(&mut self, error: Error, out: &mut dyn Effects) -> Fault {
        match self.complete_login(Some(error.text().into()), out) {
            Ok(()) => Fault::Client(error),
            Err(failure) => Fault::Final(failure),
        }
    }

    /// The upstream does not let it in. A stored credential that it does not take is nothing that
    /// the client should hear more of than that.
    fn login_failed(
        &mut self,
        size: usize,
        body: &[u8],
        out: &mut dyn Effects,
    ) -> Result<Step, Fault> {
        let fields = response::error(body)?;
        self.upstream_leaves |= fields.is_fatal();
        let injects = self.login.as_ref().is_some_and(|login| {
            let open = !login.authenticated && login.injection.is_some();
            open && fields.is_about_authorization()
        });
        if injects {
            return Err(self.not_logged_in("the upstream does not take it", out));
        }
        self.complete_login(Some(fields.summary()), out)?;
        Ok(Step::Pass(size))
    }

    /// The client is told for which resource, and that is all.
    fn not_logged_in(&mut self, reason: Reason, out: &mut dyn Effects) -> Fault {
        let login = self.login.as_ref();
        let injection = login.and_then(|login| login.injection.as_ref());
        let resource = injection.map_or("", |injection| &injection.resource);
        let words = format!("logging in to {resource} with its credential failed: {reason}");
        let farewell = refusal::not_logged_in(&words);
        match self.complete_login(Some(words.into()), out) {
            Ok(()) => Fault::Farewell(farewell, ProtocolError::Upstream(reason)),
            Err(failure) => Fault::Final(failure),
        }
    }

    /// Records how the login went, once.
    pub(super) fn complete_login(
        &mut self,
        error: Option<Arc<str>>,
        out: &mut dyn Effects,
    ) -> Result<(), ProtocolError> {
        let Some(login) = &mut self.login else {
            return Ok(());
        };
        if std::mem::replace(&mut login.completed, true) {
            return Ok(());
        }
        let (bytes_up, bytes_down) = (login.bytes_up, login.bytes_down);
        out.complete(
            self.admitted.id(),
            Answer {
                bytes_up,
                bytes_down,
                error,
                ..Answer::default()
            },
        )
    }

    /// The upstream's cancel key stays here; the client gets one of ours, which is in the table
    /// before the client can know it.
    fn replace_key(&mut self, size: usize, body: &[u8]) -> Result<Step, Fault> {
        let (process, secret) = response::backend_key(body)?;
        let longest = match &self.login {
            Some(login) if login.minor >= 2 => startup::SECRET_BYTES_MAX,
            _ => startup::SECRET_BYTES_MIN,
        };
        if !(startup::SECRET_BYTES_MIN..=longest).contains(&secret.len()) {
            return Err(Error::Length.into());
        }
        let session = self.admitted.id().session;
        let cancels = &self.shared.cancels;
        let key = cancels.register(session, self.origin, process, secret);
        let key = key.ok_or(Fault::Client(Error::CancelTable))?;
        let message = response::make_backend_key(process, key.secret());
        self.cancel = Some(key);
        self.process = Some(process);
        Ok(Step::Replace(size, message))
    }
}
