//! What every page about one challenge has above it: its title and the tabs that lead to the others.
//!
//! A page's template extends `organizer_base.html` and fills `{% block organizer %}`; its struct has a `page: Page` and a
//! `frame: Frame`.

use sqlx::PgConnection;

use super::super::{Error, pages};
use crate::challenge::{
    Challenge,
    overview::{self, Waiting},
    phase,
};

/// Where somebody is among the pages of a challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tab {
    Overview,
    Review,
    Participants,
    /// Of the phase with this slug.
    Protocol(String),
    Announcements,
    Audit,
    Exports,
    Settings,
}

pub struct Frame {
    pub slug: String,
    pub title: String,
    pub tab: Tab,
    /// Slug and title of each phase, in their order.
    pub phases: Vec<(String, String)>,
    /// Where the tab of the protocol leads: the phase that is on, or the next.
    pub current: Option<String>,
    pub waiting: Waiting,
}

impl Frame {
    pub async fn load(conn: &mut PgConnection, challenge: &Challenge, tab: Tab) -> Result<Frame, Error> {
        let phases = phase::of_challenge(conn, challenge.id).await?;
        Ok(Frame {
            slug: challenge.slug.clone(),
            title: challenge.title.clone(),
            tab,
            current: pages::current(&phases).map(|phase| phase.slug.clone()),
            phases: phases.into_iter().map(|phase| (phase.slug, phase.title)).collect(),
            waiting: overview::waiting(conn, challenge.id).await?,
        })
    }

    /// The tabs: address below `/organizer/{slug}`, name, what waits behind it, whether it is this one.
    pub fn tabs(&self) -> Vec<(String, &'static str, i64, bool)> {
        let tab = |path: &str, name, waiting, here| (path.to_owned(), name, waiting, here);
        let mut tabs = vec![
            tab("", "Overview", 0, self.tab == Tab::Overview),
            tab("/review", "Review", self.waiting.held + self.waiting.objections, self.tab == Tab::Review),
            tab("/participants", "Participants", self.waiting.requests, self.tab == Tab::Participants),
        ];
        if let Some(phase) = &self.current {
            tabs.push((format!("/{phase}/protocol"), "Protocol", 0, matches!(self.tab, Tab::Protocol(_))));
        }
        tabs.extend([
            tab("/announcements", "Announcements", 0, self.tab == Tab::Announcements),
            tab("/audit", "Audit log", 0, self.tab == Tab::Audit),
            tab("/exports", "Exports", 0, self.tab == Tab::Exports),
            tab("/settings", "Settings", 0, self.tab == Tab::Settings),
        ]);
        tabs
    }

    /// Whether this is the page of a phase's protocol.
    pub fn is_of_phase(&self, slug: &str) -> bool {
        matches!(&self.tab, Tab::Protocol(phase) if phase == slug)
    }

    pub fn is_protocol(&self) -> bool {
        matches!(self.tab, Tab::Protocol(_))
    }
}
