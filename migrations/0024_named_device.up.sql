-- A protocol may name the very device that measures, so that no board mixes two kinds of GPU.

-- As `device_name` of the rules at the time it was queued; null: any of its class.
alter table evaluation add column device_name text;
-- As the worker's machine calls what it measures on, e.g. NVIDIA H100 80GB HBM3; empty: it has not said so yet.
alter table worker add column device_name text not null default '';

-- The same for rules that name none: what is stored stays right.
create or replace function protocol_measuring_sha256(rules jsonb) returns text
    language sql immutable strict parallel safe as $$
    select encode(sha256(convert_to((jsonb_build_object(
        'fidelity', rules -> 'fidelity',
        'operators', rules -> 'operators',
        'timing', rules -> 'timing',
        'limits', rules -> 'limits',
        'device', rules -> 'device',
        'ranked_images', coalesce(rules -> 'ranked_images', '"uploaded"'))
        || jsonb_strip_nulls(jsonb_build_object('device_name', rules -> 'device_name')))::text, 'UTF8')), 'hex')
$$;
