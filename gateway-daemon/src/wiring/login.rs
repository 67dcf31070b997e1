//! Signs trees in (`gateway login`): the daemon asks the issuer, since a governed process may not
//! be able to, and what a caller said of a person would prove nothing. What a SAML identity
//! provider signed is presented by the caller, and proves itself.
//!
//! A person who approves the code of somebody else binds that tree to themselves, as with every
//! sign-in on another device: that is why the page of the issuer asks whether it was them.
use super::acts::Acts;
use super::callers::TaggedCallers;
use super::clock;
use super::identity::Principals;
use super::people::People;
use crate::terminal::moment;
use gateway_control::view::{LoginBegunView, LoginView};
use gateway_control::{Caller, LineSink, LoginError, Logins, Peer, PendingLogin};
use gateway_core::TreeId;
use gateway_identity::{
    Bound, Device, IdToken, SamlProviders, SignInClient, SignInError, VerifiedToken,
};
use gateway_lineage::{ProcessKey, Tag};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How far apart the sign-ins of one tree begin, so that none plagues an issuer through us.
const APART: Duration = Duration::from_secs(3);

/// Signs trees in.
#[derive(Clone)]
pub(crate) struct TreeLogins {
    pub(crate) callers: Arc<TaggedCallers>,
    pub(crate) principals: Arc<Principals>,
    pub(crate) people: Arc<People>,
    pub(crate) acts: Acts,
    pub(crate) places: Arc<Places>,
    pub(crate) saml: Arc<SamlProviders>,
}

impl TreeLogins {
    /// The process at the root of the caller's tree, which may have exited long ago.
    fn root_of(&self, peer: &Peer, tree: TreeId) -> Result<ProcessKey, LoginError> {
        let failed = |reason: &str| LoginError::Failed(reason.to_owned());
        let TaggedCallers {
            follower, forest, ..
        } = &*self.callers;
        follower.catch_up();
        let known = forest
            .find_pid(peer.pid)
            .filter(|key| peer.started_at(key.start))
            .and_then(|key| forest.lineage_of(key));
        let lineage = match known {
            Some(lineage) => lineage,
            None => {
                let tag = self.callers.tag_of(peer);
                let tag = tag.map_err(|error| LoginError::Failed(error.to_string()))?;
                let tag = tag.ok_or_else(|| failed("the caller has exited"))?;
                let tag = Tag {
                    key: ProcessKey::new(tag.pid, tag.start),
                    tree: tag.tree,
                    policy_slot: tag.slot,
                    parent: tag.parent.map(|(pid, start)| ProcessKey::new(pid, start)),
                };
                let adopted = forest.adopt(tag, clock::since_boot());
                adopted.ok_or_else(|| failed("nothing is known of the caller"))?
            }
        };
        let key = lineage
            .root()
            .map(|root| ProcessKey::new(root.pid, root.start));
        let summary = forest.tree_of(tree).map(|view| view.summary);
        let root = summary.and_then(|summary| summary.root);
        let root = root.map(|root| ProcessKey::new(root.pid, root.start));
        match key {
            Some(key) if lineage.tree == tree && root == Some(key) => Ok(key),
            _ => Err(failed("which process is the root of the tree is not known")),
        }
    }
}

impl TreeLogins {
    /// What a response proves binds the tree, and is no other tree's from then on.
    fn bind_assertion(
        &self,
        peer: &Arc<Peer>,
        tree: TreeId,
        response: &str,
    ) -> Result<LoginView, LoginError> {
        let refused = |reason: String| LoginError::Refused(reason);
        let root = self.root_of(peer, tree)?;
        let verified = self.saml.verify(response, moment::now());
        let verified = verified.map_err(|error| refused(error.to_string()))?;
        let tokens = self.principals.tokens();
        if let Some(owner) = tokens.owner(&verified).filter(|owner| *owner != tree) {
            return Err(refused(format!(
                "the assertion was used before, by tree {owner}, and is good once"
            )));
        }
        let found = tokens.may_sign_in(tree, root, &verified.principal);
        let found = found.map_err(refused)?;
        if found == Bound::Again {
            tokens.claim(tree, &verified).map_err(refused)?;
        }
        let bound = self.bind(peer, tree, root, &verified, found)?;
        bound.ok_or_else(|| LoginError::Failed("the caller has exited".to_owned()))
    }

    /// Recorded first, then done. `None`: a caller that has exited no longer speaks for its tree.
    fn bind(
        &self,
        peer: &Arc<Peer>,
        tree: TreeId,
        root: ProcessKey,
        verified: &VerifiedToken,
        found: Bound,
    ) -> Result<Option<LoginView>, LoginError> {
        let principal = &verified.principal;
        if !peer.alive() {
            return Ok(None);
        }
        if found == Bound::New {
            let caller = Caller::Local(Arc::clone(peer));
            let proof = format!(
                "issuer {}, subject {}, token {}",
                verified.issuer, verified.subject, verified.id
            );
            let target = tree.to_string();
            let acts = &self.acts;
            acts.record("login", &principal.id, &caller, Some(&target), Some(&proof))
                .map_err(|error| LoginError::Failed(error.to_string()))?;
            let bound = self.principals.tokens().sign_in(tree, root, verified);
            bound.map_err(LoginError::Refused)?;
        }
        tracing::info!(
            %tree, pid = peer.pid, principal = %principal.id, issuer = %verified.issuer,
            "a tree is signed in"
        );
        Ok(Some(LoginView {
            principal: self.people.enrich(principal),
            tree,
        }))
    }
}

impl Logins for TreeLogins {
    fn begin(
        &self,
        peer: &Arc<Peer>,
        tree: TreeId,
        issuer: Option<&str>,
    ) -> Result<(LoginBegunView, Box<dyn PendingLogin>), LoginError> {
        let issuers = self.principals.tokens().issuers();
        let issuers = issuers.ok_or_else(|| failure(&SignInError::NoClient))?;
        let place = Places::take(&self.places, tree)?;
        place.keep_apart();
        let root = self.root_of(peer, tree)?;
        let client = issuers.sign_in(issuer).map_err(|error| failure(&error))?;
        let device = client.begin_device().map_err(|error| failure(&error))?;
        let begun = LoginBegunView {
            verification_uri: device.verification_uri.clone(),
            verification_uri_complete: device.verification_uri_complete.clone(),
            user_code: device.user_code.clone(),
            expires_in: device.expires_in.as_secs(),
        };
        tracing::info!(%tree, pid = peer.pid, issuer = client.issuer(), "a sign-in begins");
        let pending = Pending {
            logins: self.clone(),
            peer: Arc::clone(peer),
            tree,
            root,
            client,
            until: Instant::now() + device.expires_in,
            device,
            _place: place,
        };
        Ok((begun, Box::new(pending)))
    }

    fn present(
        &self,
        peer: &Arc<Peer>,
        tree: TreeId,
        response: &str,
    ) -> Result<LoginView, LoginError> {
        if self.saml.is_empty() {
            let text = "no [[saml]] is configured, so no SAML response can be verified";
            return Err(LoginError::Issuer(text.to_owned()));
        }
        let place = Places::take(&self.places, tree)?;
        place.keep_apart();
        let presented = self.bind_assertion(peer, tree, response);
        if let Err(error) = &presented {
            tracing::warn!(%tree, pid = peer.pid, %error, "a SAML sign-in fails");
        }
        presented
    }
}

/// What an error of the sign-in is to the caller.
fn failure(error: &SignInError) -> LoginError {
    let text = error.to_string();
    match error {
        SignInError::NoClient
        | SignInError::Unknown(_)
        | SignInError::Several(_)
        | SignInError::Unsupported { .. } => LoginError::Issuer(text),
        SignInError::Unavailable { .. } => LoginError::Failed(text),
        SignInError::Denied
        | SignInError::Expired
        | SignInError::Refused { .. }
        | SignInError::Token(_) => LoginError::Refused(text),
    }
}

/// A code that waits to be approved.
struct Pending {
    logins: TreeLogins,
    peer: Arc<Peer>,
    tree: TreeId,
    root: ProcessKey,
    client: SignInClient,
    device: Device,
    until: Instant,
    _place: Place,
}

impl PendingLogin for Pending {
    fn wait(mut self: Box<Self>, out: &mut dyn LineSink) -> Result<Option<LoginView>, LoginError> {
        let waited = self.approved(out).and_then(|token| match token {
            Some(token) => self.bind(&token),
            None => Ok(None),
        });
        let (tree, pid) = (self.tree, self.peer.pid);
        match &waited {
            Ok(Some(_)) => {}
            Ok(None) => tracing::info!(%tree, pid, "a sign-in ends: the caller has left"),
            Err(error) => tracing::warn!(%tree, pid, %error, "a sign-in fails"),
        }
        waited
    }
}

impl Pending {
    /// Asks until the person has approved. `None`: the caller has left.
    fn approved(&mut self, out: &mut dyn LineSink) -> Result<Option<IdToken>, LoginError> {
        loop {
            if out.pause(self.device.interval()).is_err() || !self.peer.alive() {
                return Ok(None);
            }
            let asked = self.client.ask(&mut self.device);
            if let Some(token) = asked.map_err(|error| failure(&error))? {
                return Ok(Some(token));
            }
            if Instant::now() >= self.until {
                return Err(failure(&SignInError::Expired));
            }
        }
    }

    fn bind(&self, token: &IdToken) -> Result<Option<LoginView>, LoginError> {
        let verified = self.client.verify(token, None, moment::now());
        let verified = verified.map_err(|error| failure(&SignInError::Token(error)))?;
        let (tree, root) = (self.tree, self.root);
        let tokens = self.logins.principals.tokens();
        let found = tokens.may_sign_in(tree, root, &verified.principal);
        let found = found.map_err(LoginError::Refused)?;
        self.logins.bind(&self.peer, tree, root, &verified, found)
    }
}

/// How many sign in at once: one of each tree, and so many in all.
pub(crate) struct Places {
    max: usize,
    trees: Mutex<HashMap<TreeId, Last>>,
}

/// The last sign-in of a tree.
#[derive(Clone, Copy)]
struct Last {
    began: Instant,
    lives: bool,
}

impl Places {
    pub(crate) fn new(max: usize) -> Arc<Places> {
        Arc::new(Places {
            max,
            trees: Mutex::default(),
        })
    }

    fn take(places: &Arc<Places>, tree: TreeId) -> Result<Place, LoginError> {
        let now = Instant::now();
        let mut trees = places.trees.lock();
        trees.retain(|_, last| last.lives || now.duration_since(last.began) < APART);
        let busy = |reason: &str| Err(LoginError::Busy(reason.to_owned()));
        let last = trees.get(&tree).copied();
        if last.is_some_and(|last| last.lives) {
            return busy("another sign-in of this tree waits for an answer");
        }
        if trees.values().filter(|last| last.lives).count() >= places.max {
            return busy("too many sign-ins wait for an answer (limits.logins)");
        }
        let began = last.map_or(now, |last| now.max(last.began + APART));
        trees.insert(tree, Last { began, lives: true });
        Ok(Place {
            places: Arc::clone(places),
            tree,
            began,
        })
    }
}

/// A place among those who sign in.
struct Place {
    places: Arc<Places>,
    tree: TreeId,
    /// In the future, when the last one of this tree was not long ago.
    began: Instant,
}

impl Place {
    /// Waits for its time.
    fn keep_apart(&self) {
        std::thread::sleep(self.began.saturating_duration_since(Instant::now()));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(last) = self.places.trees.lock().get_mut(&self.tree) {
            last.lives = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_tree_and_so_many_in_all() {
        let places = Places::new(2);
        let first = Places::take(&places, TreeId(1)).map_err(drop).unwrap();
        let busy = |tree| {
            matches!(
                Places::take(&places, TreeId(tree)),
                Err(LoginError::Busy(_))
            )
        };
        assert!(busy(1), "the same tree");
        let _second = Places::take(&places, TreeId(2)).map_err(drop).unwrap();
        assert!(busy(3), "too many");
        let began = first.began;
        drop(first);
        let again = Places::take(&places, TreeId(1)).map_err(drop).unwrap();
        assert!(again.began >= began + APART, "not at once");
        assert!(busy(3));
    }
}
