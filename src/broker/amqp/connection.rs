//! How to reach the server: one URL, checked once, and connections opened and closed within a time-out. It must not know
//! what a connection is for. lapin's own recovery stays off: it can leave a consumer waiting for ever.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};
use tokio::sync::Mutex;
use tokio::time::timeout;
use url::Url;

use super::topology::Topology;
use crate::broker::BrokerError;
use crate::config::{BrokerSettings, QueueType, RetrySettings, TlsSettings};

/// Closing waits for the broker, and a blocked one doesn't answer.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The server, and what a connection to it needs.
#[derive(Clone)]
pub(super) struct Server {
    uri: AMQPUri,
    /// Without user and password, for errors and logs.
    address: String,
    tls: TlsSettings,
    connect_timeout: Duration,
    queue_type: QueueType,
    steps: Vec<Duration>,
    declare: bool,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

impl Server {
    pub(super) fn new(settings: &BrokerSettings) -> Result<Self, BrokerError> {
        let mut uri = parse(settings.url.as_deref().unwrap_or_default())?;
        let seconds = u16::try_from(settings.heartbeat.as_secs()).unwrap_or(u16::MAX);
        uri.query.heartbeat = Some(seconds.max(1));
        let tls = settings.tls.clone();
        if tls != TlsSettings::default() && uri.scheme == AMQPScheme::AMQP {
            return Err(invalid("broker.tls is set, but broker.url is not encrypted: write amqps://"));
        }
        if tls.certificate_file.is_some() != tls.key_file.is_some() {
            return Err(invalid(
                "broker.tls.certificate_file and broker.tls.key_file go together: set both or neither",
            ));
        }
        let vhost = if uri.vhost == "/" { "" } else { uri.vhost.as_str() };
        let address = format!("{}://{}:{}/{vhost}", uri.scheme, uri.authority.host, uri.authority.port);
        Ok(Self {
            uri,
            address,
            tls,
            connect_timeout: settings.connect_timeout,
            queue_type: settings.queue_type,
            steps: RetrySettings::default().steps,
            declare: settings.declare,
        })
    }

    /// The delays of the retry queues, in place of the usual ones.
    pub(super) fn with_steps(self, steps: &[Duration]) -> Self {
        Self { steps: steps.to_vec(), ..self }
    }

    /// Without user and password.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn uri(&self) -> &AMQPUri {
        &self.uri
    }

    /// The user's name, and the virtual host.
    pub(super) fn login(&self) -> (&str, &str) {
        (&self.uri.authority.userinfo.username, &self.uri.vhost)
    }

    /// The user's name and password.
    pub(super) fn credentials(&self) -> (String, String) {
        let login = &self.uri.authority.userinfo;
        (login.username.clone(), login.password.clone())
    }

    /// Where the management plugin is by default, encrypted if the broker is.
    pub(super) fn management_url(&self) -> Result<Url, String> {
        let (scheme, port) = match self.uri.scheme {
            AMQPScheme::AMQP => ("http", 15672),
            AMQPScheme::AMQPS => ("https", 15671),
        };
        let host = &self.uri.authority.host;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        Url::parse(&format!("{scheme}://{host}:{port}")).map_err(|error| error.to_string())
    }

    /// All that must exist on the server.
    pub(super) fn topology(&self) -> Topology<'_> {
        Topology { queue_type: self.queue_type, steps: &self.steps }
    }

    /// Opens a connection; `purpose` names it in the broker's own lists.
    pub(super) async fn open(&self, purpose: &str) -> Result<Connection, BrokerError> {
        let name = format!("bulkrelease {purpose}");
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let runtime = lapin::runtime::default_runtime().map_err(|error| self.unreachable(&error))?;
        let opening =
            Connection::connect_uri_with_config(self.uri.clone(), properties, self.tls_config().await?, runtime);
        match timeout(self.connect_timeout, opening).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(self.unreachable(&error)),
            Err(_) => Err(self.unreachable(&format!("no answer within {:?}", self.connect_timeout))),
        }
    }

    /// Opens a connection on which every exchange and queue is known to exist.
    pub(super) async fn open_ready(&self, purpose: &str) -> Result<Connection, BrokerError> {
        let connection = self.open(purpose).await?;
        if self.declare {
            self.topology().declare(&connection).await?;
        } else {
            self.topology().check(&connection).await?;
        }
        Ok(connection)
    }

    pub(super) fn unreachable(&self, reason: &dyn fmt::Display) -> BrokerError {
        BrokerError::Unreachable { address: self.address.clone(), reason: reason.to_string() }
    }

    // Read for every connection, so that a renewed certificate is picked up.
    pub(super) async fn tls_config(&self) -> Result<OwnedTLSConfig, BrokerError> {
        let cert_chain = self.authority().await?;
        let identity = match (&self.tls.certificate_file, &self.tls.key_file) {
            (Some(certificate), Some(key)) => Some(OwnedIdentity::PKCS8 {
                pem: tokio::fs::read(certificate).await.map_err(|error| {
                    invalid(&format!("broker.tls.certificate_file: can't read {}: {error}", certificate.display()))
                })?,
                key: tokio::fs::read(key)
                    .await
                    .map_err(|error| invalid(&format!("broker.tls.key_file: can't read {}: {error}", key.display())))?,
            }),
            _ => None,
        };
        Ok(OwnedTLSConfig { identity, cert_chain })
    }

    /// The certificates of `broker.tls.ca_file`.
    pub(super) async fn authority(&self) -> Result<Option<String>, BrokerError> {
        let Some(path) = &self.tls.ca_file else { return Ok(None) };
        let read = tokio::fs::read_to_string(path).await;
        let explain = |error| invalid(&format!("broker.tls.ca_file: can't read {}: {error}", path.display()));
        read.map(Some).map_err(explain)
    }
}

// No message of this function repeats the URL: it may hold a password.
fn parse(written: &str) -> Result<AMQPUri, BrokerError> {
    if written.is_empty() {
        return Err(invalid("broker.url is not set: write amqp://USER:PASSWORD@HOST:5672/VHOST"));
    }
    let url = Url::parse(written).map_err(|error| {
        invalid(&format!("broker.url is no URL: {error}. Special characters of a password are written as %XX"))
    })?;
    if !matches!(url.scheme(), "amqp" | "amqps") || url.cannot_be_a_base() {
        return Err(invalid("broker.url must begin with amqp:// or amqps://"));
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| invalid("broker.url names no host"))?;
    let mut uri: AMQPUri = written.parse().map_err(|error| invalid(&format!("broker.url: {error}")))?;
    // lapin takes an address of IP version 6 for "localhost".
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        address.clone_into(&mut uri.authority.host);
    }
    // A lone slash at the end is the default vhost: nobody has one with an empty name.
    if uri.vhost.is_empty() {
        "/".clone_into(&mut uri.vhost);
    }
    Ok(uri)
}

fn invalid(explanation: &str) -> BrokerError {
    BrokerError::Other(explanation.to_owned())
}

/// Closes a connection, and with it its channels. Whatever goes wrong, the connection is of no further use.
pub(super) async fn close(connection: &Connection) {
    match timeout(CLOSE_TIMEOUT, connection.close(200, "OK".into())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a broken connection needed no closing"),
        Err(_) => tracing::debug!("the broker did not answer the closing of a connection"),
    }
}

/// A connection that is opened when it is first needed, kept, and opened again when it broke.
pub(super) struct KeptConnection {
    purpose: &'static str,
    kept: Mutex<Option<Arc<Connection>>>,
}

impl KeptConnection {
    pub(super) fn new(purpose: &'static str) -> Self {
        Self { purpose, kept: Mutex::new(None) }
    }

    /// With `ready`, the exchanges and queues are declared or checked whenever the connection is opened.
    pub(super) async fn get(&self, server: &Server, ready: bool) -> Result<Arc<Connection>, BrokerError> {
        let mut kept = self.kept.lock().await;
        if let Some(connection) = kept.as_ref().filter(|connection| connection.status().connected()) {
            return Ok(Arc::clone(connection));
        }
        let opened = if ready { server.open_ready(self.purpose).await? } else { server.open(self.purpose).await? };
        Ok(Arc::clone(kept.insert(Arc::new(opened))))
    }

    /// The connection answers no more: the next caller gets another.
    pub(super) async fn discard(&self) {
        *self.kept.lock().await = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Result<Server, BrokerError> {
        Server::new(&BrokerSettings { url: Some(url.to_owned()), ..BrokerSettings::default() })
    }

    #[test]
    fn a_password_stands_in_no_error_and_no_address() {
        for url in [
            "amqp://user:geheim/@host",
            "amqp://user:geheim@",
            "http://user:geheim@host/",
            "amqp://user:geheim@host/?heartbeat=geheim7x",
            "amqps://user:geheim@host/v",
            "geheim",
            "amqp:geheim",
        ] {
            let shown = match server(url) {
                Ok(server) => format!("{server:?} {}", server.unreachable(&"why")),
                Err(error) => format!("{error} {error:?}"),
            };
            assert!(!shown.contains("geheim"), "{url}: {shown}");
        }
    }

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for (url, address) in [
            ("amqp://a:b@rabbit", "amqp://rabbit:5672/"),
            ("amqp://rabbit:5673/", "amqp://rabbit:5673/"),
            ("amqp://rabbit/%2f", "amqp://rabbit:5672/"),
            ("amqps://rabbit/work", "amqps://rabbit:5671/work"),
            ("amqp://10.0.0.5/work", "amqp://10.0.0.5:5672/work"),
            ("amqp://[fd00::5]:5672/work", "amqp://fd00::5:5672/work"),
        ] {
            assert_eq!(server(url).unwrap().address, address, "{url}");
        }
    }

    #[test]
    fn tls_settings_without_an_encrypted_url_are_refused() {
        let tls = TlsSettings { ca_file: Some("ca.pem".into()), ..TlsSettings::default() };
        let settings = BrokerSettings { url: Some("amqp://host".to_owned()), tls, ..BrokerSettings::default() };
        assert!(Server::new(&settings).unwrap_err().to_string().contains("amqps://"));

        let tls = TlsSettings { key_file: Some("key.pem".into()), ..TlsSettings::default() };
        let settings = BrokerSettings { url: Some("amqps://host".to_owned()), tls, ..BrokerSettings::default() };
        assert!(Server::new(&settings).unwrap_err().to_string().contains("certificate_file"));
    }

    #[test]
    fn a_missing_url_names_the_setting() {
        assert!(Server::new(&BrokerSettings::default()).unwrap_err().to_string().contains("broker.url"));
    }
}
