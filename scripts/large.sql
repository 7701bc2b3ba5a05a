-- A large board: fill.teams teams with fill.entries scored entries each, in the phase of the challenge fill.challenge; one team in
-- ten is below a gate of 29 dB. For benchmarks and attacks on a database of their own, never for one that is in use.
--
--   psql -c "set fill.challenge = 'large'" -c "set fill.teams = 1000" -c "set fill.entries = 10" -f scripts/large.sql

insert into account (id, name) values ('00000000-0000-7000-8000-000000000001', 'Bench');

insert into team (id, challenge_id, name)
select gen_random_uuid(), c.id, 'Team ' || i
from challenge c, generate_series(1, current_setting('fill.teams')::int) i
where c.slug = current_setting('fill.challenge');

insert into submission (id, phase_id, team_id, account_id, results_sha256, results_bytes, model_sha256, model_bytes,
    uploaded_model_sha256, created_at)
select gen_random_uuid(), p.id, t.id, '00000000-0000-7000-8000-000000000001', h.sha, 1, h.sha, 1, h.sha,
    now() - i * interval '1 hour'
from challenge c
join phase p on p.challenge_id = c.id
join team t on t.challenge_id = c.id and t.name like 'Team %'
cross join generate_series(1, current_setting('fill.entries')::int) i
cross join (select repeat('ab', 32) as sha) h
where c.slug = current_setting('fill.challenge');

insert into evaluation (id, submission_id, team_id, protocol_id, dataset_id, device_class, number, state, finished_at)
select gen_random_uuid(), s.id, s.team_id, p.protocol_id, p.dataset_id, 'cpu', 1, 'scored', s.created_at
from submission s
join phase p on p.id = s.phase_id
where s.account_id = '00000000-0000-7000-8000-000000000001';

insert into score (evaluation_id, psnr, ssim, cost_input, cost_scale, params, convs, activations, flops_kair, flops_fvcore, macs,
    operators, runtime_device, runtime_input, runtime_threads, runtime_ms, runtime_ci_low, runtime_ci_high, runtime_runs,
    runtime_samples, baseline_ms, ratio, ratio_ci_low, ratio_ci_high, baseline_samples, memory_bytes, memory_method, verdict,
    max_abs, identical_fraction, input_range, reproduction_images, provenance)
select e.id, 28.95 + 0.5 * random(), 0.8 + 0.02 * random(), '[1, 3, 256, 256]', 4, 1000 + 1e6 * random(), 64 * random(),
    1e8 * random(), 3e10 * random(), 3e10 * random(), 3e10 * random(), '[]', 'cpu', '1x3x256x256', 2, r * 100, r * 99, r * 101,
    20, '[]', 100, r, r * 0.99, r * 1.01, '[]', 1e8 * random() + 1, 'arena', 'reproduced', 0, 1, 1, '[]',
    '{"device_name": "bench"}'
from evaluation e
join submission s on s.id = e.submission_id
cross join lateral (select 0.1 + random() + 0 * e.number as r) r
where s.account_id = '00000000-0000-7000-8000-000000000001';

analyze;
