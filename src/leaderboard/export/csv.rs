//! CSV for programs: full precision, one line an entry.

use super::Board;
use crate::csv::{cell, line as csv_line, text};

impl Board {
    /// RFC 4180. Text that a spreadsheet would take for a formula is quoted with `'`. Each sub-track has two columns.
    pub fn to_csv(&self) -> String {
        let mut head = "rank,team,submission,psnr_db,ssim,params,flops,macs,activations,convs,memory_mib,runtime_ms,\
                        runtime_ratio,runtime_ratio_low,runtime_ratio_high,runtime_noisy,rank_runtime,rank_params,\
                        rank_flops,rank_activations,rank_memory,rank_psnr,rank_ssim,score,score_ln"
            .to_owned();
        for track in &self.ranking.sub_tracks {
            head += &format!(",rank_track_{0},value_track_{0}", track.slug);
        }
        head += ",rank_best,rank_worst,verified,extra_data,device";
        let mut out = head + ",reproduction,status,reason,flops_profile,protocol\r\n";
        let places = self.ranked.iter().map(Some).chain(std::iter::repeat(None));
        for (line, row) in self.lines().into_iter().zip(places) {
            let f = line.figures;
            let r = line.ranks;
            let status = match (line.rank, line.note) {
                (Some(_), _) => "ranked",
                (None, Some(reason)) => &reason.code,
                (None, None) => "baseline",
            };
            let score = match row {
                Some(row) => self.score_of(row).and_then(|p| p.value),
                None => self.baseline.as_ref().filter(|_| line.baseline).and_then(|b| b.score),
            };
            let mut cells = vec![
                cell(line.rank),
                text(line.team),
                cell(line.submission.as_ref()),
                cell(line.psnr),
                cell(f.map(|f| f.ssim)),
                cell(f.map(|f| f.params)),
                cell(f.map(|f| f.flops)),
                cell(f.map(|f| f.macs)),
                cell(f.map(|f| f.activations)),
                cell(f.map(|f| f.convs)),
                cell(f.map(|f| f.memory_mib)),
                cell(f.map(|f| f.runtime_ms)),
                cell(f.and_then(|f| f.runtime_ratio)),
                cell(f.and_then(|f| f.runtime_ratio_ci95).map(|[low, _]| low)),
                cell(f.and_then(|f| f.runtime_ratio_ci95).map(|[_, high]| high)),
                cell(f.map(|f| f.noisy)),
                cell(r.and_then(|r| r.runtime)),
                cell(r.and_then(|r| r.params)),
                cell(r.and_then(|r| r.flops)),
                cell(r.and_then(|r| r.activations)),
                cell(r.and_then(|r| r.memory)),
                cell(r.and_then(|r| r.psnr)),
                cell(r.and_then(|r| r.ssim)),
                cell(score),
                cell(row.and_then(|row| self.score_of(row)).and_then(|p| p.ln)),
            ];
            for track in &self.ranking.sub_tracks {
                let place = row.and_then(|row| row.tracks.get(&track.slug));
                cells.push(cell(place.and_then(|p| p.rank)));
                cells.push(cell(place.and_then(|p| p.value)));
            }
            let (open, traits) = (row.and_then(|row| row.rank_ci95), line.traits);
            cells.extend([
                cell(open.map(|[best, _]| best)),
                cell(open.map(|[_, worst]| worst)),
                cell(traits.map(|t| t.verified)),
                cell(traits.and_then(|t| t.extra_data)),
                text(traits.and_then(|t| t.device.as_deref()).unwrap_or_default()),
                cell(f.map(|f| f.reproduction.as_str())),
                status.to_owned(),
                text(line.note.map_or("", |reason| &reason.message)),
                self.flops_profile.as_str().to_owned(),
                text(&self.protocol),
            ]);
            out.push_str(&csv_line(&cells));
        }
        out
    }
}
