//! Mail, where it is configured; everything works without.

use anyhow::{Context, bail};
use lettre::{
    AsyncFileTransport, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
};

/// Where mail goes.
#[derive(Debug, Clone)]
pub struct Mailer {
    from: Mailbox,
    way: Way,
}

#[derive(Debug, Clone)]
enum Way {
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
    /// Each mail as a file, for tests and for looking at.
    Folder(AsyncFileTransport<Tokio1Executor>),
}

impl Mailer {
    /// `url`: `smtps://USER:PASSWORD@HOST` (TLS), `smtp://HOST:25` (none), `smtp://USER:PASSWORD@HOST:587?tls=required`
    /// (STARTTLS), or `file:///FOLDER`. `from`: `Upscore <noreply@example.org>`.
    pub fn new(url: &str, from: &str) -> anyhow::Result<Mailer> {
        let from = from.parse().with_context(|| format!("the sender {from:?} (--mail-from, UPSCORE_MAIL_FROM)"))?;
        let way = match url.split_once("://") {
            Some(("file", folder)) => Way::Folder(AsyncFileTransport::new(folder)),
            Some(("smtp" | "smtps", _)) => {
                let server = AsyncSmtpTransport::<Tokio1Executor>::from_url(url);
                // Its error may quote the URL, and so the password.
                let server =
                    server.map_err(|_| anyhow::anyhow!("the mail server's URL cannot be read (UPSCORE_SMTP_URL)"));
                Way::Smtp(server?.build())
            }
            _ => bail!("the mail server's URL starts with smtp://, smtps:// or file:// (UPSCORE_SMTP_URL)"),
        };
        Ok(Mailer { from, way })
    }

    /// Sends plain text to one address.
    pub async fn send(&self, to: &str, subject: &str, text: String) -> anyhow::Result<()> {
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to.parse().context("a stored mail address")?))
            .subject(subject)
            .header(ContentType::TEXT_PLAIN)
            .body(text)?;
        match &self.way {
            Way::Smtp(server) => server.send(message).await.map(drop).context("sending a mail"),
            Way::Folder(folder) => folder.send(message).await.map(drop).context("writing a mail"),
        }
    }
}
