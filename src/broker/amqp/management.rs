//! Asks RabbitMQ's management plugin for what AMQP can't tell: arguments, policies, bindings, nodes. It only ever gets.

use std::time::Duration;

use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::connection::Server;
use crate::broker::inspection::{Binding, Management, NoManagement, RabbitMq};
use crate::config::BrokerSettings;

const PATIENCE: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(30);
/// Of one page. A queue's has a few thousand.
const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;

#[derive(Deserialize)]
struct Overview {
    rabbitmq_version: String,
}

#[derive(Deserialize)]
struct Bound {
    destination: String,
    destination_type: String,
    routing_key: String,
}

/// Asks for all queues and exchanges of the inspection.
pub(super) async fn ask(
    server: &Server,
    settings: &BrokerSettings,
    inspection: &RabbitMq,
) -> Result<Management, NoManagement> {
    let given = settings.management_url.as_deref();
    let url = given.map_or_else(|| server.management_url(), |url| Url::parse(url).map_err(|error| error.to_string()));
    let shown = url.as_ref().map_or_else(|_| String::new(), shown);
    let unavailable = |reason: String| NoManagement { url: shown.clone(), reason };
    let plugin = Plugin::new(server, url.map_err(unavailable)?).await.map_err(unavailable)?;
    let asking = plugin.tell(&inspection.virtual_host, inspection);
    let told = tokio::time::timeout(LONGEST, asking).await;
    let mut told = told.unwrap_or_else(|_| Err(format!("no answer within {LONGEST:?}"))).map_err(unavailable)?;
    told.url = shown.clone();
    Ok(told)
}

fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Neither can fail on a URL that has a host.
    let (user, password) = (url.set_username(""), url.set_password(None));
    if user.and(password).is_ok() { url.to_string() } else { String::new() }
}

struct Plugin {
    http: Client,
    url: Url,
    user: String,
    password: String,
}

impl Plugin {
    async fn new(server: &Server, url: Url) -> Result<Self, String> {
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err("broker.management_url must be http://HOST:15672 or https://HOST:15671".to_owned());
        }
        let mut http = Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none());
        if let Some(authority) = server.authority().await.map_err(|error| error.to_string())? {
            let certificate =
                reqwest::Certificate::from_pem(authority.as_bytes()).map_err(|error| error.to_string())?;
            http = http.tls_certs_merge([certificate]);
        }
        let http = http.build().map_err(|error| error.to_string())?;
        let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let own = Some(url.username()).filter(|user| !user.is_empty());
        let (user, password) = match own {
            Some(user) => (decoded(user), decoded(url.password().unwrap_or_default())),
            None => server.credentials(),
        };
        Ok(Self { http, url, user, password })
    }

    async fn tell(&self, virtual_host: &str, inspection: &RabbitMq) -> Result<Management, String> {
        let overview: Overview = self.get(&["overview"]).await?.ok_or("the plugin has no overview")?;
        let mut told = Management { version: Some(overview.rabbitmq_version), ..Management::default() };
        for queue in &inspection.queues {
            let name = queue.queue.name();
            if let Some(queue) = self.get(&["queues", virtual_host, &name]).await? {
                told.queues.insert(name, queue);
            }
        }
        for exchange in &inspection.exchanges {
            let name = &exchange.name;
            if let Some(exchange) = self.get(&["exchanges", virtual_host, name]).await? {
                told.exchanges.insert(name.clone(), exchange);
                let bound: Option<Vec<Bound>> =
                    self.get(&["exchanges", virtual_host, name, "bindings", "source"]).await?;
                let queues = bound.into_iter().flatten().filter(|bound| bound.destination_type == "queue");
                told.bindings.extend(queues.map(|bound| Binding {
                    exchange: name.clone(),
                    queue: bound.destination,
                    key: bound.routing_key,
                }));
            }
        }
        // All that was asked before was allowed, so a refusal is one of this.
        told.nodes = self.get(&["nodes"]).await.ok().flatten();
        Ok(told)
    }

    /// `None` if it does not exist.
    async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Option<T>, String> {
        let mut url = self.url.clone();
        url.path_segments_mut().map_err(|()| "this URL takes no path")?.pop_if_empty().push("api").extend(path);
        let asked = self.http.get(url).basic_auth(&self.user, Some(&self.password)).send().await;
        let mut answer = asked.map_err(|error| reason(&error))?;
        let status = answer.status();
        match status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(format!("it does not let user {} in ({status})", self.user));
            }
            _ => return Err(format!("it answers {status}")),
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| reason(&error))? {
            if body.len() + chunk.len() > MAX_PAGE_BYTES {
                return Err("its answer is too long".to_owned());
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map(Some).map_err(|error| format!("its answer can't be read: {error}"))
    }
}

/// The innermost cause: what is around it repeats the URL.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
