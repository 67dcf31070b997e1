//! The first messages of a connection, up to the StartupMessage or the CancelRequest.
use super::inject::{Injected, Injection};
use super::login::Login;
use super::masking::unproven_use;
use super::serving::Serving;
use super::{Channel, PgSession, Stage, refusal};
use crate::Shared;
use crate::codec::request::cancel_request;
use crate::codec::startup::{self, Packet, Parameters};
use crate::error::Error;
use crate::interpret::SqlContext;
use crate::interpret::flow::server::is_of_server;
use gateway_core::mask::Use;
use gateway_core::{Attribute, Effect, Object, Obstacle, Operation, Verb};
use gateway_protocol::{Answer, Effects, ProtocolError, Side};
use std::sync::Arc;

/// A StartupMessage longer than this is not recorded whole.
const VALUE_BYTES_MAX: usize = 256;
/// Settings that change nothing about what a session may do or how its SQL is read.
const HARMLESS: [&str; 7] = [
    "application_name",
    "client_encoding",
    "datestyle",
    "extra_float_digits",
    "fallback_application_name",
    "intervalstyle",
    "timezone",
];

impl PgSession {
    /// Takes the packet that `bytes[at..]` begins with. Returns its size, or 0 when it is not
    /// whole yet.
    pub(super) fn open(
        &mut self,
        bytes: &[u8],
        at: usize,
        out: &mut dyn Effects,
    ) -> Result<usize, ProtocolError> {
        let rest = bytes.get(at..).unwrap_or_default();
        let size = match startup::packet_size(rest) {
            Ok(Some(size)) => size,
            Ok(None) => return Ok(0),
            Err(error) => return Err(self.fault(error, out)),
        };
        let Some(packet) = rest.get(..size) else {
            return Ok(0);
        };
        match startup::packet(packet) {
            Ok(Packet::Ssl | Packet::Gssenc | Packet::OtherVersion) => {
                return Err(self.fault(Error::Version, out));
            }
            Ok(Packet::Cancel { process, secret }) => {
                if !self.cancel(process, secret, out)? {
                    return Ok(0);
                }
            }
            Ok(Packet::Startup { minor, parameters }) => {
                if !self.start(packet, minor, parameters, out) {
                    return Ok(0);
                }
            }
            Err(error) => return Err(self.fault(error, out)),
        }
        Ok(size)
    }

    fn fault(&mut self, error: Error, out: &mut dyn Effects) -> ProtocolError {
        self.stage = Stage::Ended;
        out.send_client(&refusal::fault(error, true));
        error.of(Side::Client)
    }

    /// Whoever may connect may also interrupt what he started: the effect is `connect`. False: it
    /// is held.
    fn cancel(
        &mut self,
        process: u32,
        secret: &[u8],
        out: &mut dyn Effects,
    ) -> Result<bool, ProtocolError> {
        let found = self.shared.cancels.find(self.origin, process, secret);
        let attributes: Vec<_> = found
            .iter()
            .map(|found| text_attribute("sql.cancels", &found.session.to_string()))
            .collect();
        let effects = [Effect {
            verb: Verb::Connect,
            objects: Vec::new(),
        }];
        let cleared = out.submit(&Operation {
            statement: "CANCEL",
            attributes: &attributes,
            ..Operation::new(crate::NAME, Verb::Connect, &effects)
        });
        if matches!(cleared, Err(Obstacle::Held(_))) {
            return Ok(false);
        }
        self.stage = Stage::Ended;
        match (cleared, found) {
            (Ok(clearance), Some(found)) => {
                let request = cancel_request(process, &found.secret);
                out.send_upstream(&clearance, &request);
                let answer = Answer {
                    bytes_up: request.len() as u64,
                    ..Answer::default()
                };
                self.stage = Stage::Cancelling(clearance.id(), answer);
                Ok(true)
            }
            // PostgreSQL does not tell a client that its key is wrong, and neither do we.
            (Ok(clearance), None) => {
                let error = Some(Arc::from(Error::CancelKey.text()));
                out.complete(
                    clearance.id(),
                    Answer {
                        error,
                        ..Answer::default()
                    },
                )?;
                Err(Error::CancelKey.of(Side::Client))
            }
            (Err(_), _) => {
                out.close();
                Ok(true)
            }
        }
    }

    /// Asks whether this user may log in with these settings. False: it is held, without a word,
    /// since clients expect none here.
    fn start(
        &mut self,
        packet: &[u8],
        minor: u16,
        parameters: Parameters<'_>,
        out: &mut dyn Effects,
    ) -> bool {
        let mut startup = Startup::read(parameters, &self.shared);
        startup.channel(self.channel);
        if let Some(injected) = &self.injected {
            startup.injected(injected);
        }
        let operation = Operation {
            attributes: &startup.attributes,
            ..Operation::new(crate::NAME, startup.verb(), &startup.effects)
        };
        let uses = startup.uses(&operation, out);
        let cleared = out.submit(&Operation {
            uses: &uses,
            ..operation
        });
        let clearance = match cleared {
            Ok(clearance) => clearance,
            Err(Obstacle::Held(_)) => return false,
            Err(Obstacle::Refused(denied)) => {
                self.stage = Stage::Ended;
                out.send_client(&refusal::farewell(&denied));
                out.close();
                return true;
            }
        };
        // A minor version that the gateway does not know could change what follows. The upstream
        // is asked for one that it does know, and the client is told so.
        let spoken = minor.min(startup::MINOR_MAX);
        let mut packet = startup::with_minor(packet, spoken);
        // The session has no use for what it logs in with when that is done.
        let injection = self.injected.take().map(|injected| {
            let (user, database) = (&startup.user, &startup.database);
            packet = startup::with_user(&packet, parameters, user, database);
            Injection::new(&injected, user)
        });
        out.send_upstream(&clearance, &packet);
        let lowered = spoken != minor;
        let login = Login::new(spoken, lowered, packet.len(), self.channel, injection);
        let shared = Arc::clone(&self.shared);
        let serving = Serving::new(shared, self.origin, clearance, login, &startup.database);
        self.stage = Stage::Serving(Box::new(serving));
        true
    }
}

fn text_attribute(name: &str, value: &str) -> (Arc<str>, Attribute) {
    (Arc::from(name), Attribute::Text(Arc::from(value)))
}

/// What a StartupMessage asks for.
struct Startup {
    /// Who logs in.
    user: Vec<u8>,
    /// Where to; empty: where the upstream takes the user's name for it, or refuses.
    database: Vec<u8>,
    effects: Vec<Effect>,
    attributes: Vec<(Arc<str>, Attribute)>,
    /// It has the server load or run something, or nobody knows what it asks for.
    of_server: bool,
}

impl Startup {
    fn read(parameters: Parameters<'_>, shared: &Shared) -> Startup {
        let mut startup = Startup {
            user: Vec::new(),
            database: Vec::new(),
            effects: vec![Effect {
                verb: Verb::Authenticate,
                objects: Vec::new(),
            }],
            attributes: Vec::new(),
            of_server: false,
        };
        let (mut user, mut database) = (None, None);
        for (name, value) in parameters.iter() {
            match name {
                b"user" => user = Some(startup::as_read(value)),
                b"database" => database = Some(startup::as_read(value)),
                b"replication" => startup.replication(value),
                b"options" => startup.options(value, shared),
                _ if name.starts_with(b"_pq_.") => {}
                _ => startup.setting(name, value, shared),
            }
        }
        // The database is by default the one with the user's name.
        let database = database.filter(|name| !name.is_empty()).or(user);
        startup.user = user.unwrap_or_default().to_vec();
        startup.database = database.unwrap_or_default().to_vec();
        for (name, value) in [("sql.user", user), ("sql.database", database)] {
            if let Some(value) = value {
                startup.attribute(name, value);
            }
        }
        startup
    }

    /// Who logs in, and where: what the upstream will be told is what is judged and recorded.
    fn injected(&mut self, injected: &Injected) {
        let said = self.user.clone();
        if let Some(stored) = &injected.login.user {
            self.user = stored.as_bytes().to_vec();
        }
        if self.database.is_empty() {
            self.database.clone_from(&self.user);
        }
        let own = ["sql.user", "sql.database"];
        self.attributes.retain(|(name, _)| !own.contains(&&**name));
        let (user, database) = (self.user.clone(), self.database.clone());
        for (name, value) in [
            ("sql.user", &user),
            ("sql.database", &database),
            ("sql.client_user", &said),
        ] {
            self.attribute(name, value);
        }
        self.attributes
            .push(text_attribute("sql.credential", &injected.credential));
    }

    /// How far the way is encrypted, for the record.
    fn channel(&mut self, channel: Channel) {
        for (name, version) in [
            ("tls.client", channel.client),
            ("tls.upstream", channel.upstream),
        ] {
            if let Some(version) = version {
                self.attributes.push(text_attribute(name, version));
            }
        }
    }

    /// What it could do with masked values in all that the session is used for: what the server
    /// loads as it begins sees every table.
    fn uses(&self, operation: &Operation<'_>, out: &mut dyn Effects) -> Vec<Use> {
        if !self.of_server {
            return Vec::new();
        }
        // To log in returns nothing that could be masked. What is read later is.
        let read = Effect {
            verb: Verb::Read,
            objects: vec![Object::Unresolved(Arc::from("*"))],
        };
        let effects = [self.effects.as_slice(), &[read]].concat();
        let masks = out.masks(&Operation {
            effects: &effects,
            ..*operation
        });
        unproven_use(masks.as_deref())
    }

    fn verb(&self) -> Verb {
        self.effects
            .iter()
            .map(|effect| effect.verb)
            .max()
            .unwrap_or(Verb::Unknown)
    }

    fn attribute(&mut self, name: &str, value: &[u8]) {
        let value = crate::codec::value::text(value, VALUE_BYTES_MAX);
        self.attributes.push(text_attribute(name, &value));
    }

    fn effect(&mut self, verb: Verb, objects: &[Object]) {
        let effect = match self.effects.iter_mut().find(|effect| effect.verb == verb) {
            Some(effect) => effect,
            None => {
                self.effects.push(Effect {
                    verb,
                    objects: Vec::new(),
                });
                let Some(effect) = self.effects.last_mut() else {
                    return;
                };
                effect
            }
        };
        for object in objects {
            if !effect.objects.contains(object) {
                effect.objects.push(object.clone());
            }
        }
    }

    /// A replication connection, unless the value certainly says no (`parse_bool`).
    fn replication(&mut self, value: &[u8]) {
        let value = value.to_ascii_lowercase();
        let no = !value.is_empty()
            && (b"false".starts_with(&value)
                || b"no".starts_with(&value)
                || (value.len() > 1 && b"off".starts_with(&value))
                || value == b"0");
        if !no {
            self.effect(Verb::Admin, &[Object::Unresolved(Arc::from("*"))]);
            self.attribute("sql.replication", &value);
        }
    }

    /// The command line of the server process: `-c name=value` and `--name=value`. Any other
    /// switch acts on the server itself.
    fn options(&mut self, value: &[u8], shared: &Shared) {
        self.attribute("sql.options", value);
        let words = split_options(value);
        let mut words = words.iter().map(Vec::as_slice);
        while let Some(word) = words.next() {
            let setting = match word {
                b"-c" => words.next(),
                [b'-', b'c' | b'-', setting @ ..] => Some(setting),
                _ => None,
            };
            let assignment = setting.and_then(|setting| {
                let equals = memchr::memchr(b'=', setting)?;
                let (name, value) = setting.split_at(equals);
                Some((name, value.get(1..).unwrap_or_default()))
            });
            match assignment {
                Some((name, value)) => {
                    // The server reads a dash in a name as an underscore.
                    let name: Vec<u8> = name
                        .iter()
                        .map(|byte| if *byte == b'-' { b'_' } else { *byte })
                        .collect();
                    self.setting(&name, value, shared);
                }
                None => self.anything(Verb::Admin),
            }
        }
    }

    /// What it asks for, nobody knows.
    fn anything(&mut self, verb: Verb) {
        self.of_server = true;
        self.effect(verb, &[Object::Unresolved(Arc::from("*"))]);
    }

    /// A setting at start is what SET would be.
    fn setting(&mut self, name: &[u8], value: &[u8], shared: &Shared) {
        let (name, value) = match (std::str::from_utf8(name), std::str::from_utf8(value)) {
            (Ok(name), Ok(value)) => (name.to_ascii_lowercase(), value),
            _ => return self.anything(Verb::Unknown),
        };
        self.of_server |= is_of_server(&name);
        if name == "search_path" {
            // What becomes of it the upstream will say.
            return;
        }
        if name == "application_name" {
            self.attribute("sql.application", value.as_bytes());
        }
        if HARMLESS.contains(&name.as_str()) {
            return;
        }
        let plain = |character: char| character.is_ascii_alphanumeric() || character == '_';
        let parts_are_plain = name
            .split('.')
            .all(|part| !part.is_empty() && part.chars().all(plain));
        if !parts_are_plain || value.contains('\\') {
            return self.anything(Verb::Unknown);
        }
        let quoted = name.replace('.', "\".\"");
        let statement = format!("SET \"{quoted}\" TO '{}'", value.replace('\'', "''"));
        let meaning = shared
            .classifier
            .classify(&statement, &SqlContext::default());
        for effect in &meaning.effects {
            if effect.verb != Verb::Read {
                self.effect(effect.verb, &effect.objects);
            }
        }
    }
}

/// Splits as `pg_split_opts`: at white space that no backslash precedes.
fn split_options(value: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = value.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => words.extend(word.take()),
            b'\\' => word.get_or_insert_default().extend(bytes.next()),
            _ => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    words
}
