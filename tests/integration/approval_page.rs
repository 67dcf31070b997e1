//! The page behind a webhook's link, as a browser sees it: a real provider signs the person in.
use crate::approvals::receive;
use crate::remote_api::{Remote, free_port};
use gateway_tests::running::{self, PATIENCE, Running};
use gateway_tests::{Provider, place, wait};
use serde_json::Value;
use std::net::TcpListener;
use std::process::Command;

const UPDATE: &str = "update accounts set balance = 0";
const CLIENT: &str = "import psycopg, sys\n\
    with psycopg.connect(sys.argv[1], autocommit=True) as c:\n    \
        try: print(c.execute('update accounts set balance = 0').rowcount)\n    \
        except psycopg.Error as e: print(e)\n";

/// One page of a browser that keeps its cookies in a file, and follows nothing.
const BROWSER: &str = "import http.cookiejar, os, ssl, sys, urllib.error, urllib.request\n\
    authority, jar, method, url, origin, form = sys.argv[1:]\n\
    class Stay(urllib.request.HTTPRedirectHandler):\n    \
        def redirect_request(self, *_): return None\n\
    cookies = http.cookiejar.LWPCookieJar(jar)\n\
    if os.path.exists(jar): cookies.load(ignore_discard=True)\n\
    context = ssl.create_default_context(cafile=authority)\n\
    browser = urllib.request.build_opener(Stay, urllib.request.ProxyHandler({}),\n    \
        urllib.request.HTTPSHandler(context=context), urllib.request.HTTPCookieProcessor(cookies))\n\
    request = urllib.request.Request(url, data=form.encode() if form else None, method=method)\n\
    if origin: request.add_header('Origin', origin)\n\
    try: answer = browser.open(request, timeout=20)\n\
    except urllib.error.HTTPError as error: answer = error\n\
    cookies.save(ignore_discard=True)\n\
    print(answer.status)\n\
    print(answer.headers.get('Location', ''))\n\
    print(answer.read().decode())\n";

/// A world with the page, a receiver of its links, and a job that waits.
struct Scene {
    remote: Remote,
    hook: TcpListener,
    _secret: tempfile::TempDir,
}

struct Page {
    status: u16,
    location: String,
    body: String,
}

impl Page {
    /// The value of a hidden field.
    fn hidden(&self, name: &str) -> String {
        let rest = self.body.split_once(&format!("name=\"{name}\" value=\""));
        let rest = rest.unwrap_or_else(|| panic!("no {name} in {}", self.body));
        rest.1.split_once('"').unwrap().0.to_owned()
    }
}

impl Scene {
    fn new() -> Option<Scene> {
        let provider = Provider::start_or_skip(&["RS256"]).unwrap()?;
        let port = free_port();
        let callback = format!("https://127.0.0.1:{port}/callback");
        let client = provider.register(&callback).unwrap();
        let secret = place::temporary_directory().unwrap();
        let file = secret.path().join("secret");
        std::fs::write(&file, "a secret of more than 16 bytes").unwrap();
        let hook = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = hook.local_addr().unwrap();
        let webhook =
            format!("[[webhook]]\nurl = \"http://{address}/hook\"\nsecret_file = {file:?}\n");
        let client = format!("client_id = {client:?}\n");
        let remote = Remote::with(provider, port, &client, &webhook);
        for name in ["alice", "dba", "auditor"] {
            let claims = serde_json::json!({ "email": format!("{name}@acme.example") });
            remote.world.provider.set_account(name, &claims).unwrap();
        }
        remote
            .world
            .sql("create table accounts as select 1 as balance");
        Some(Scene {
            remote,
            hook,
            _secret: secret,
        })
    }

    /// A job of alice's asks; the link that its approvers are sent.
    fn ask(&self) -> (Running, String) {
        let world = &self.remote.world;
        let token = world.token("alice@acme.example");
        let job = world.job("update", &token, CLIENT, &[&world.cluster.address()]);
        let (_, body) = receive(&self.hook);
        let told: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(told["question"]["statement"], UPDATE, "{told}");
        (job, told["link"].as_str().unwrap().to_owned())
    }

    fn browse(&self, who: &str, method: &str, url: &str, origin: &str, form: &str) -> Page {
        let mut command = Command::new(place::python().unwrap());
        command.args(["-c", BROWSER]).arg(self.remote.authority());
        command.arg(self.remote.files.path().join(format!("cookies of {who}")));
        command.args([method, url, origin, form]);
        let outcome = running::run(&mut command).unwrap().success().unwrap();
        let mut parts = outcome.stdout.splitn(3, '\n');
        let mut part = || parts.next().unwrap().to_owned();
        Page {
            status: part().parse().unwrap(),
            location: part(),
            body: part(),
        }
    }

    fn get(&self, who: &str, url: &str) -> Page {
        self.browse(who, "GET", url, "", "")
    }

    /// Opens the link, and signs in at the provider; the page with the form.
    fn sign_in(&self, who: &str, link: &str) -> Page {
        let page = self.get(who, link);
        assert_eq!(page.status, 200, "{}", page.body);
        assert!(page.body.contains(UPDATE), "{}", page.body);
        assert!(page.body.contains("Sign in to answer"), "{}", page.body);
        let (address, query) = link.split_once("/approve/").unwrap();
        let login = format!("{address}/login?id={}", query.replacen('?', "&", 1));
        let sent = self.get(who, &login);
        assert_eq!(sent.status, 303, "{}", sent.body);
        let back = self.remote.world.provider.authorize(&sent.location, who);
        let back = back.unwrap();
        let signed_in = self.get(who, &back);
        assert_eq!(signed_in.status, 200, "{}", signed_in.body);
        let name = format!("user:{who}@acme.example");
        assert!(signed_in.body.contains(&name), "{}", signed_in.body);
        let again = self.get(who, &back);
        assert_eq!(again.status, 403, "a code is good once: {}", again.body);
        self.get(who, link)
    }

    fn answer(&self, who: &str, link: &str, form: &Page, answer: &str) -> Page {
        let (address, _) = link.split_once("/approve/").unwrap();
        let (place, _) = link.split_once('?').unwrap();
        let fields = ["e", "s", "csrf"].map(|name| format!("{name}={}", form.hidden(name)));
        let form = format!("{}&reason=as+agreed&answer={answer}", fields.join("&"));
        self.browse(who, "POST", place, address, &form)
    }
}

#[test]
fn an_update_is_approved_through_a_webhooks_link() {
    let Some(scene) = Scene::new() else { return };
    let (job, link) = scene.ask();
    // What opens links in mails and chats answers nothing, however often.
    for _ in 0..3 {
        assert_eq!(scene.get("scanner", &link).status, 200);
    }
    let mut forged = link.clone();
    forged.pop();
    forged.push(if link.ends_with('0') { '1' } else { '0' });
    assert_eq!(scene.get("scanner", &forged).status, 403);
    // Neither she who asks, nor somebody whom the rule does not name.
    for who in ["alice", "auditor"] {
        let form = scene.sign_in(who, &link);
        let refused = scene.answer(who, &link, &form, "approve");
        assert_eq!(refused.status, 403, "{who}: {}", refused.body);
    }
    let form = scene.sign_in("dba", &link);
    // Another site that sends the browser here, and a form of somebody else's session.
    let (place, query) = link.split_once('?').unwrap();
    let fields = format!("{query}&csrf={}&answer=approve", form.hidden("csrf"));
    let abroad = scene.browse("dba", "POST", place, "https://evil.example", &fields);
    assert_eq!(abroad.status, 403, "{}", abroad.body);
    let (address, _) = link.split_once("/approve/").unwrap();
    let fields = format!("{query}&csrf=guessed&answer=approve");
    let guessed = scene.browse("dba", "POST", place, address, &fields);
    assert_eq!(guessed.status, 403, "{}", guessed.body);
    let answered = scene.answer("dba", &link, &form, "approve");
    assert_eq!(answered.status, 200, "{}", answered.body);
    assert_eq!(job.wait(PATIENCE).unwrap().success().unwrap().stdout, "1\n");
    let twice = scene.answer("dba", &link, &form, "approve");
    assert_eq!(twice.status, 409, "used twice: {}", twice.body);
    assert_eq!(scene.get("dba", &link).status, 404, "nothing waits by it");
    let log = scene.remote.world.daemon.log().unwrap();
    let approved = log.iter().find(|one| one["verdict"] == "approved").unwrap();
    assert_eq!(approved["approver"], "user:dba@acme.example");
    assert_eq!(approved["reason"], "as agreed");
}

#[test]
fn an_update_is_denied_through_a_webhooks_link() {
    let Some(scene) = Scene::new() else { return };
    let (job, link) = scene.ask();
    let form = scene.sign_in("dba", &link);
    let answered = scene.answer("dba", &link, &form, "deny");
    assert_eq!(answered.status, 200, "{}", answered.body);
    let said = job.wait(PATIENCE).unwrap().success().unwrap().stdout;
    assert!(said.contains("as agreed"), "the reason is told: {said}");
}

/// Who was offboarded after signing in answers nothing, though the browser has the session.
#[test]
fn an_approver_who_left_is_one_no_more() {
    let Some(scene) = Scene::new() else { return };
    let (job, link) = scene.ask();
    let form = scene.sign_in("dba", &link);
    scene.remote.world.offboard("dba@acme.example");
    let refused = wait::until("the directory to be read", PATIENCE, || {
        let list = scene.remote.world.token("dba@acme.example");
        (scene.remote.ask("GET", "/v1/approvals", &list, "").0 == 401).then_some(())
    });
    refused.unwrap();
    let answered = scene.answer("dba", &link, &form, "approve");
    assert_eq!(answered.status, 403, "{}", answered.body);
    drop(job);
}
