create or replace function protocol_measuring_sha256(rules jsonb) returns text
    language sql immutable strict parallel safe as $$
    select encode(sha256(convert_to(jsonb_build_object(
        'fidelity', rules -> 'fidelity',
        'operators', rules -> 'operators',
        'timing', rules -> 'timing',
        'limits', rules -> 'limits',
        'device', rules -> 'device',
        'ranked_images', coalesce(rules -> 'ranked_images', '"uploaded"'))::text, 'UTF8')), 'hex')
$$;
alter table worker drop column device_name;
alter table evaluation drop column device_name;
