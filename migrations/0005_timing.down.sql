alter table submission drop column organizer_decided;
alter table score
    drop column runtime_noisy,
    drop column timing_record,
    drop column process_bytes,
    drop column baseline_process_bytes;
