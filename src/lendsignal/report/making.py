"""How each table that reports ask is made of what the archive holds and of what came after it: SQL.

`raw_<table>` are the archive's tables (docs/reference/archive.md), the rows that are not archived yet
included. What a statement reads besides is made before it. Moments are microseconds since 1970, UTC.
"""

from collections.abc import Iterable, Mapping, Sequence

from lendsignal.model import KEY_FIELD, ONCE_PER_KEY

VIEWS: Mapping[str, str] = {
    "event": """
create view event as
select seq, type, brand || ':' || user_id as user, user_key, event_id, {key} as key, loan_id,
    epoch_us(occurred_at) as at_us,
    {binds} as binds_us, epoch_us(received_at) as received_us, coalesce(app, {default_app}) as app,
    coalesce(amount, credit_limit) as amount, currency, fee, loan_number::integer as loan_number,
    dpd::integer as dpd, revision::integer as revision, verdict,
    user_key in (select user_key from tester) as test, history, purpose = 'analytics' as analytics,
    application_id, grant_id, term_days::integer as term_days, due_date::varchar as due_day, outstanding,
    time_precision = 'day' as by_day, product, loan_key as loan, fact_key as fact, brand, user_id, closes_loan
from raw_events where type not like 'lendsignal.%'
""",
    "counted": """
create view counted as
select e.*, coalesce(s.superseded, false) as superseded, coalesce(s.reversed, false) as reversed
from event e left join event_struck s on s.seq = e.seq where e.verdict = 'taken'
""",
    "placed": """
create view placed as
select c.*, b.last_login, b.first_install, b.held, b.touch_us, b.touch_received_us, b.is_late, b.as_arrived
from counted c left join bound b on b.seq = c.seq
""",
    "placed_loan": """
create view placed_loan as
select p.*, l.loans, l.loan_number as number_of_loan from placed p left join loans_of l on l.seq = p.seq
""",
    "instalment": """
create view instalment as
select seq, due_date::varchar as due_day, amount from raw_instalments
""",
    "entry": """
create view entry as
select delivery as id, record, rebinds, hash(destination, kind, conversion, name, skip, settle_us) as step,
    epoch_us(planned_at) as planned_us from planned_delivery
""",
    "step": """
create view step as
select distinct hash(destination, kind, conversion, name, skip, settle_us) as step, destination, kind,
    conversion, name, skip, settle_us from planned_delivery
""",
    "valued": """
create view valued as
select delivery as id, value as amount, value_currency as currency from planned_delivery
    where value is not null
""",
    "planned_delivery": """
create view planned_delivery as
select * replace ({destination} as destination) from raw_deliveries
""",
    "receipt": """
create view receipt as
select pack * 1048576 + place as place, delivery as id, what, reason,
    coalesce(epoch_us(sent_at), 0) as sent_us, epoch_us("at") as answered_us from raw_outcomes
""",
    "recorded": """
create view recorded as
select feed, mmp, app, mmp_id as id, name, coalesce(epoch_us(happened_at), 0) as at_us,
    {happened_day} as day, conversion_id
    as conversion, amount, currency, sent_by, kind, is_primary, channel, media_source, campaign, campaign_id,
    copies from raw_recorded
""",
    "spend": """
create view spend as
select feed, account, spent_on::varchar as day, channel, media_source, campaign, campaign_id, ad_set,
    ad_set_id, ad,
    ad_id, country, currency, amount, impressions, clicks, {ad} as ad_number from raw_spend
""",
}
"""Tables that cost nothing until they are asked, and then only the columns that are asked for."""

TABLES: Mapping[str, str] = {
    "tester": """
create table tester as
select distinct user_key, brand || ':' || user_id as user from raw_events where test and verdict = 'taken'
""",
    "event_struck": """
create table event_struck as  -- facts that another telling stands for, and those that were taken back
with again as (
    select fact_key from raw_events
    where verdict = 'taken' and fact_key is not null and type in ({once}) group by 1 having count(*) > 1
), superseded as (
    select seq, user_key from raw_events
    where verdict = 'taken' and type in ({once}) and fact_key in (select fact_key from again)
    -- of a fact that was told for both purposes the telling for optimisation stands
    qualify seq - if(purpose = 'analytics', 4000000000000000000, 0)
        <> max(seq - if(purpose = 'analytics', 4000000000000000000, 0)) over (partition by fact_key)
), reversal as (
    select user_key, case type when 'repayment_reversed' then 'repaid' else 'disbursed' end as type,
        {key} as key, max(epoch_us(occurred_at)) as at_us
    from raw_events
    where verdict = 'taken' and type in ('disbursement_reversed', 'loan_cancelled', 'repayment_reversed')
    group by all
), reversed as (
    select e.seq, e.user_key from (
        select seq, user_key, type, epoch_us(occurred_at) as at_us, {key} as key from raw_events
        where verdict = 'taken' and type in ('disbursed', 'repaid')
            and user_key in (select user_key from reversal)
    ) e join reversal r on r.user_key = e.user_key and r.type = e.type and r.key = e.key
    where r.at_us >= e.at_us
)
select seq, any_value(user_key) as user_key, bool_or(superseded) as superseded,
    bool_or(reversed) as reversed
from (
    select seq, user_key, true as superseded, false as reversed from superseded
    union all select seq, user_key, false, true from reversed
) group by seq
""",
    "touch_look": """
create table touch_look as  -- each snapshot that some touch showed, by the first that did
with first as (select shown, min(seq) as seq from raw_touches where shown is not null group by shown)
select row_number() over (order by seq) - 1 as n, t.shown, coalesce(t.app, '') as app, {ids}
from raw_touches t join first using (seq) order by seq
""",
    "install_name": """
create table install_name as
select name, (min(place * 4294967296 + installation) % 4294967296)::integer
    as installation  -- the first place
from ({named}) group by 1
""",
    "known_id": """
create table known_id as
select distinct installation, kind, value from ({known})
""",
    "touch": """
create table touch as
select t.brand || ':' || t.user_id as user, t.user_key, epoch_us(t.occurred_at) as at_us, t.event_id,
    epoch_us(t.received_at) as received_us,
    coalesce(t.app, '') as app, n.installation as own, n.installation as installation,
    epoch_us(t.occurred_at) as seen_us, {os} as os,
    t.user_key in (select user_key from tester) as test, t.brand,
    t.shown
from raw_touches t left join look_number n on n.shown = t.shown
""",
    "origin": """
create table origin as
with came as (  -- a return to the same installation through an ad leaves its origin as it is
    select * from attribution where installation is not null and kind <> 're_engagement'
), again as (
    select installation from came group by installation having count(*) > 1
), coming as (
    select *, row_number() over (partition by installation order by at_us, feed, kind, id) as place from came
    where installation in (select installation from again)
)
select installation, channel, media_source, campaign, campaign_id, ad_set, ad_set_id, ad_number,
    at_us as came_us, -9223372036854775807 as from_us, 9223372036854775807 as until_us
from came where installation not in (select installation from again)
union all
select *, lead(from_us, 1, 9223372036854775807) over (partition by installation order by from_us) as until_us
from (
    select installation, channel, media_source, campaign, campaign_id, ad_set, ad_set_id, ad_number,
        at_us as came_us,
        -- what happened before an MMP noticed belongs to the first origin all the same
        case when place = 1 then -9223372036854775807 else at_us end as from_us
    from coming
    qualify row_number() over (partition by installation, from_us order by place desc) = 1
)
""",
    "attribution": """
create table attribution as
select a.*, n.installation from coming_told a left join install_name n on n.name = hash(a.app, a.id)
""",
    "coming_told": """
create table coming_told as  -- of several sayings about one coming the latest
with saying as (
    select *, hash(feed, app, mmp_id, kind, coalesce(epoch_us(came_at),
    0) // 1000000) as hash from raw_attributions
), again as (select hash from saying group by hash having count(*) > 1)
select feed, mmp, app, mmp_id as id, kind, coalesce(epoch_us(came_at), 0) as at_us, {came_day} as day,
    channel,
    media_source, campaign, campaign_id, ad_set, ad_set_id, ad, ad_id, {ad} as ad_number
from (
    select * from saying where hash not in (select hash from again)
    union all
    select * from saying where hash in (select hash from again) qualify row_number() over (
        partition by feed, app, mmp_id, kind, coalesce(epoch_us(came_at), 0) // 1000000
        order by told_at desc, key) = 1
)
""",
    "conversion": """
create table conversion as
with moved as (  -- a late touch bound it anew: the last one holds
    select rebinds as record, count(*) as rebound, max(record) as last
    from raw_conversions where rebinds is not null group by 1
), bound as (
    select c.*, coalesce(m.rebound, 0) as rebound,
    m.last from raw_conversions c left join moved m using (record)
    where c.rebinds is null
)
select b.record, b.conversion_id as id, b.name, b.brand || ':' || b.user_id as user, b.user_key,
    b.event_id, b.event_type, b.loan_id,
    b.loan_number::integer as loan_number, epoch_us(b.occurred_at) as at_us,
    epoch_us(b.received_at) as received_us, epoch_us(b.planned_at) as planned_us,
    case when l.record is not null then l.app else coalesce(b.app, b.event_app) end as app,
    n.installation, epoch_us(case when l.record is not null then l.touched_at else b.touched_at end)
    as touch_us,
    f.installation as first_installation, b.rebound::integer as rebound, b.certain, b.test, b.history,
    b.entries::integer as entries
from bound b left join (select * from raw_conversions where rebinds is not null) l on l.record = b.last
left join look_number n on n.shown = case when l.record is not null then l.shown else b.shown end
left join look_number f on f.shown = case when l.record is not null then l.first_shown else b.first_shown end
""",
    "event_touch": """
create table event_touch as
with mark as (  -- two touches in one instant are settled by the larger event id
    select user_key, at_us, arg_max(installation, event_id) as installation,
        arg_max(received_us, event_id) as received_us
    from touch where not test group by user_key, at_us
)
select c.seq, c.user_key, c.binds_us, c.received_us, c.history, m.installation as last_login,
    m.at_us as touch_us,
    m.received_us as touch_received_us,
    coalesce(not c.history and m.received_us > c.received_us + $settle, false) as is_late
from (select seq, user_key, binds_us, received_us, history from counted where not test) c
asof left join mark m on c.user_key = m.user_key and c.binds_us >= m.at_us
""",
    "bound": """
create table bound as
with first_seen as (
    select user_key, arg_min(own, (at_us, event_id)) as installation, min(at_us) as at_us
    from touch where own is not null group by user_key
), alone as (
    select seq, user_key, binds_us from event_touch where last_login is null
), released as (  -- no login by then: what the holding pen released it to, or a first login soon after
    select l.seq, coalesce(any_value(c.installation), any_value(o.installation)) as held
    from alone l left join first_seen o on o.user_key = l.user_key and o.at_us <= l.binds_us + $pen_after
        left join (select seq, event_id from raw_events where seq in (select seq
        from alone)) e on e.seq = l.seq
        left join (
            select c.user_key, c.event_id, n.installation
            from raw_conversions c join look_number n on n.shown = c.shown
            where c.user_key in (select user_key from alone)
        ) c on c.user_key = l.user_key and c.event_id = e.event_id
    group by l.seq
), arrived as (
    select l.seq, arg_max(t.installation, row(t.at_us, t.event_id)) as installation
    from (select * from event_touch where is_late) l
        join touch t on t.user_key = l.user_key and t.at_us <= l.binds_us
        and t.received_us <= l.received_us + $settle
    group by l.seq
)
select l.seq, l.last_login, case when l.last_login is not null then o.installation end as first_install,
    l.touch_us, l.touch_received_us, l.is_late,
    case when l.is_late then a.installation else l.last_login end as as_arrived, r.held
from event_touch l left join first_seen o on o.user_key = l.user_key left join arrived a on a.seq = l.seq
    left join released r on r.seq = l.seq
""",
    "first_seen": """
create table first_seen as
select own as installation, min(at_us) as at_us, bool_or(test) as test from touch
where own is not null group by own
""",
    "loans_of": """
create table loans_of as  -- of every event whether it is of a user's first loan or a repeat one
with own as (  -- each user's first disbursed loan, and whether we have seen the user from the start
    select user_key, bool_or(type = 'registered') as whole,
        min(at_us) filter (type = 'disbursed' and not reversed and not superseded) as loan_us,
        arg_min(loan, at_us) filter (type = 'disbursed' and not reversed and not superseded) as loan
    from counted where type in ('registered', 'disbursed') group by user_key
), numbered as (
    select loan, max(loan_number) as loan_number from counted
    where loan is not null and loan_number is not null group by loan
)
select c.seq, case when c.type = 'registered' then 'first'
        when coalesce(c.loan_number, n.loan_number) = 1 then 'first'
        when coalesce(c.loan_number, n.loan_number) > 1 then 'repeat'
        when not coalesce(o.whole, false) and not $whole then 'unknown'
        when o.loan_us < c.at_us and o.loan is distinct from c.loan then 'repeat'
        else 'first' end as loans, coalesce(c.loan_number, n.loan_number) as loan_number
from counted c left join own o on o.user_key = c.user_key left join numbered n on n.loan = c.loan
where not c.test and c.type not in ('logged_in', 'app_opened')
""",
    "booked": """
create table booked as  -- payments and losses of loans: see `earnings`
with loan as (
    select loan, any_value(user_key) as user_key, max(amount) as amount, coalesce(max(fee), 0) as fee,
        coalesce(max(currency), '(none)') as currency
    from counted where type = 'disbursed' and loan is not null and amount is not null
        and not test and not superseded and not reversed
    group by loan
), paid as (
    select l.loan, l.user_key, l.currency, c.at_us, case
            when c.type = 'extended' or c.fee is not null then coalesce(c.fee, 0)
            when c.type = 'repaid' and l.amount + l.fee > 0
                then round(c.amount::double * l.fee::double / (l.amount + l.fee)::double, 2)::decimal(38, 8)
            else 0 end as earned,
        case when c.type = 'extended' then 0 else c.amount - earned end as principal
    from counted c join loan l on l.loan = c.loan
    where c.type in ('repaid', 'recovered', 'extended') and not c.superseded and not c.reversed
        and (c.amount is not null or c.type = 'extended')
        and coalesce(c.currency, l.currency) = l.currency
), lost as (
    select loan, min(at_us) as at_us from counted
    where type in ('defaulted', 'overdue') and loan is not null and not superseded and not reversed
        and (type = 'defaulted' or dpd >= $default_dpd)
    group by loan
), paid_before as (
    select p.loan, sum(p.principal) as principal from paid p join lost o on o.loan = p.loan
    where p.at_us <= o.at_us group by p.loan
)
select p.loan, p.user_key, p.currency, p.at_us, p.earned,
    case when p.at_us > o.at_us then -p.principal else 0 end as lost
from paid p left join lost o on o.loan = p.loan
union all
select l.loan, l.user_key, l.currency, o.at_us, 0, l.amount - coalesce(b.principal, 0)
from loan l join lost o on o.loan = l.loan left join paid_before b on b.loan = l.loan
""",
    "journey": """
create table journey as  -- what of a user's events the funnel counts, those of one kind and binding together
with lost as (  -- a loan is lost once
    select seq from placed_loan
    where (type = 'defaulted' or (type = 'overdue' and dpd >= $default_dpd))
        and not test and not superseded and not reversed
    qualify row_number() over (partition by coalesce(loan, hash(user_key, event_id)) order by at_us, seq) = 1
), step as (
    select user_key, loans, coalesce(last_login, held) as last_login,
        coalesce(first_install, held) as first_install, app, {step} as step, loan,
        case when by_day or at_us <= 0 then null else at_us end as known_us, amount, fee,
        case when type in ('disbursed', 'repaid') and amount is not null
            then coalesce(currency, '(none)') end as money_in
    from placed_loan
    where type in ({steps}) and not test and not superseded and not reversed
        and (type not in ('defaulted', 'overdue') or seq in (select seq from lost))
), several as (  -- users with money in several currencies: each has its own rows
    select user_key from step where money_in is not null group by user_key
    having min(money_in) <> max(money_in)
), of_loan as (
    select user_key, loans, last_login, first_install, app, step, loan,
        case when user_key in (select user_key from several) then money_in end as kept_in,
        min(money_in) as money_in, count(*) as n, min(known_us) as us, count(money_in) as told,
        sum(amount) filter (money_in is not null) as amount, sum(fee) filter (money_in is not null) as fee
    from step group by all
), apart as (  -- a loan's steps that stand in several rows
    select user_key, loan, step from of_loan where loan is not null group by all having count(*) > 1
), marked as (
    select o.*, a.loan is not null as is_apart from of_loan o left join apart a
    on a.user_key = o.user_key and a.loan = o.loan and a.step = o.step
)
select user_key, loans, last_login, first_install, app, min(money_in) as currency, {step_columns},
    {money_columns},
    list({{'step': step, 'loan': loan}} order by step, loan) filter (is_apart) as apart
from marked group by user_key, loans, last_login, first_install, app, kept_in
""",
    "brought": """
create table brought as  -- what loans brought, by where each disbursement of theirs is bound: see `earnings`
select b.user_key, b.currency, b.at_us, b.earned, b.lost, c.loans,
    coalesce(c.last_login, c.held) as last_login, coalesce(c.first_install, c.held) as first_install, c.app
from booked b join placed_loan c on c.loan = b.loan
where c.type = 'disbursed' and not c.test and not c.superseded and not c.reversed
""",
    "agreed": """
create table agreed as  -- loan events that both rules bind alike, and none came late: see `bindings`
with first as (
    select distinct user_key, event_id from conversion where name = 'first_loan' and certain
), alike as (
    select p.user_key, p.type, coalesce(p.last_login, p.held) as last_login, p.app, p.at_us, p.amount,
        p.last_login is not null as is_bound, case when p.type = 'disbursed' then p.currency end as currency,
        f.event_id is not null as is_first
    from placed_loan p left join first f
        on p.type = 'disbursed' and f.user_key = p.user_key and f.event_id = p.event_id
    where p.type in ({loan_events}) and not p.test and not p.superseded and not p.reversed
        and {is_agreed}
)
select user_key, last_login, last_login as first_install, app, is_bound, currency, {event_columns},
    min(at_us) filter (type = 'disbursed') as lent_us,
    count(*) filter (is_first)::integer as n_first, count(amount) filter (is_first)::integer as told_first,
    sum(amount) filter (is_first) as amount_first,
    count(*) filter (type = 'disbursed' and not is_first)::integer as n_later,
    count(amount) filter (type = 'disbursed' and not is_first)::integer as told_later,
    sum(amount) filter (type = 'disbursed' and not is_first) as amount_later
from alike group by user_key, last_login, app, is_bound, currency
""",
    "decision": """
create table decision as  -- conversions of what answers an application, by what the time went: see `delay`
with granted as (
    select user_key, grant_id, any_value(application_id) as application_id from counted
    where type = 'credit_granted' and application_id is not null and not superseded group by all
), asked as (
    select user_key, application_id, at_us from counted
    where type = 'applied' and not test and not superseded and not by_day
), answered as (
    select c.seq, c.user_key, c.event_id, c.type, c.at_us, c.app,
        coalesce(c.application_id, g.application_id) as application_id
    from counted c left join granted g on g.user_key = c.user_key and g.grant_id = c.grant_id
    where c.type in ('credit_granted', 'disbursed') and not c.test and not c.superseded and not c.by_day
), named as (
    select a.* exclude (application_id), k.application_id, k.at_us as applied_us from answered a
    join asked k on k.user_key = a.user_key and k.application_id = a.application_id
), latest as (  -- the event names no application: the user's latest one by then
    select a.* exclude (application_id), k.application_id, k.at_us as applied_us
    from (select * from answered where application_id is null) a
    asof join asked k on k.user_key = a.user_key and a.at_us >= k.at_us
), decided as (
    select * from (select * from named union all select * from latest)
    where applied_us <= at_us
    -- what a credit line pays out later was not asked for again
    qualify row_number() over (partition by user_key, application_id, type order by at_us, seq) = 1
), stepped as (  -- most applications are decided without anybody looking at them
    select d.seq, c.seq as place, c.at_us, c.type
    from decided d join counted c on c.user_key = d.user_key and c.application_id = d.application_id
        and c.at_us between d.applied_us and d.at_us
    where c.type in ('review_started', 'review_ended', 'phone_check_started', 'phone_check_ended')
        and not c.superseded
), point as (
    select seq, -1 as place, applied_us as at_us, 'applied' as type from decided semi join stepped using (seq)
    union all
    select * from stepped
    union all
    select seq, 9223372036854775807, at_us, 'answered' from decided semi join stepped using (seq)
), said as (
    select *, case type when 'review_started' then true when 'review_ended' then false end as reviewing,
        case type when 'phone_check_started' then true when 'phone_check_ended' then false end as calling
    from point
), stretch as (  -- an end without a beginning: it has gone on since the application
    select seq, lead(at_us) over sweep - at_us as us,
        coalesce(last_value(reviewing ignore nulls) over before,
            not first_value(reviewing ignore nulls) over every, false) as reviewing,
        coalesce(last_value(calling ignore nulls) over before,
            not first_value(calling ignore nulls) over every, false) as calling,
        -- of an application that a person looks at, the time until somebody does
        count(coalesce(reviewing, calling)) over before = 0
            and count(coalesce(reviewing, calling)) over every > 0 as waiting
    from said
    window sweep as (partition by seq order by at_us, place),
        before as (partition by seq order by at_us, place rows unbounded preceding),
        every as (partition by seq order by at_us, place
            rows between unbounded preceding and unbounded following)
), added as (
    select seq, coalesce(sum(us) filter (calling), 0)::bigint as phone_check,
        coalesce(sum(us) filter (reviewing and not calling), 0)::bigint as review,
        coalesce(sum(us) filter (waiting and not reviewing and not calling), 0)::bigint as waiting,
        coalesce(sum(us) filter (not waiting and not reviewing and not calling), 0)::bigint as other
    from stretch group by seq
)
select d.seq as decided, d.user_key, d.event_id, v.record, v.name, v.test, v.app, d.app as event_app,
    d.applied_us, d.at_us as decided_us, v.at_us, v.installation, v.first_installation,
    coalesce(a.waiting, 0) as waiting, coalesce(a.review, 0) as review,
    coalesce(a.phone_check, 0) as phone_check, coalesce(a.other, d.at_us - d.applied_us) as other
from decided d left join added a using (seq)
left join conversion v on v.user_key = d.user_key and v.event_id = d.event_id
""",
    "posting": """
create table posting as  -- how long each delivery took, with what is bound to its conversion: see `delay`
select d.id, d.destination, d.conversion, d.what, d.reason, d.record, v.name, v.user_key, v.event_id, v.app,
    v.installation, v.first_installation, v.at_us, d.answered_us, k.applied_us,
    d.received_us - d.at_us as arrival,
    greatest(d.planned_us - d.received_us, 0) as pen,
    least(d.planned_us + d.settle_us, coalesce(d.sent_us, d.answered_us)) - d.planned_us as settle,
    coalesce(d.sent_us, d.answered_us) - d.planned_us - settle as queue,
    d.answered_us - coalesce(d.sent_us, d.answered_us) as platform
from delivery d join conversion v on v.record = d.record left join (
    select record, min(applied_us) as applied_us from decision where record is not null and not test
    group by record
) k on k.record = d.record
""",
    "delivery": """
create table delivery as
with again as (
    select id from receipt group by id having count(*) > 1
), tried as (  -- most deliveries have one receipt: only those of the others are sorted
    select id, what in ('accepted', 'dead', 'skipped', 'cancelled') as over, what, reason, answered_us,
        if(sent_us > 0, 1, 0) as attempts, if(what = 'retry', 1, 0) as retries, nullif(sent_us, 0) as sent_us
    from receipt where id not in (select id from again)
    union all
    select id, over, last.what, last.reason, last.answered_us, attempts, retries, sent_us from (
        select id, count(*) filter (sent_us > 0) as attempts, count(*) filter (what = 'retry') as retries,
            min(sent_us) filter (sent_us > 0) as sent_us,
            bool_or(what in ('accepted', 'dead', 'skipped', 'cancelled')) as over,
            arg_max({{'what': what, 'reason': reason, 'answered_us': answered_us}}, place)
                filter (what in ('accepted', 'dead', 'skipped', 'cancelled')) as last
        from receipt where id in (select id from again) group by id
    )
), seen as (
    select e.delivery as id, e.record, e.rebinds, epoch_us(e.planned_at) as planned_us, e.destination, e.kind,
        e.conversion, e.name, e.skip, e.settle_us, c.at_us, c.received_us,
        case when t.over then t.what end as ended, case when t.over then t.reason end as end_reason,
        case when t.over then t.answered_us end as answered_us, w.stage, w.reason as wait_reason,
        coalesce(t.attempts, 0) as attempts, coalesce(t.retries, 0) as retries, t.sent_us
    from planned_delivery e left join (
        select record, epoch_us(occurred_at) as at_us, epoch_us(received_at) as received_us
        from raw_conversions where rebinds is null
    ) c on c.record = coalesce(e.rebinds, e.record)
        left join tried t on t.id = e.delivery
        left join waits w on w.id = e.delivery
), opened as (  -- a rebinding's entry is a delivery only where it was opened: the rest moved others
    select * from seen where rebinds is null
    union all
    select e.* from (select * from seen where rebinds is not null) e
        left join seen p on p.record = e.rebinds and p.kind = e.kind
    where e.ended is not null or e.stage is not null
        or (e.skip is not null and e.record <= $position
            and (p.id is null or (p.destination <> e.destination and p.end_reason = 'rebound')))
)
select id, destination, conversion, name,
    case when stage is not null then stage
        when ended is not null then ended
        when record > $position then 'planned'
        when skip is not null then 'skipped'
        else 'missing' end as what,
    case when stage is not null then wait_reason
        when ended is not null then end_reason
        when skip is not null then skip else '' end as reason,
    planned_us, answered_us, attempts, retries, at_us, received_us, coalesce(rebinds, record) as record,
    settle_us, sent_us
from opened
""",
}
"""Tables that are kept once they are made: several statements ask for them."""

STANDING = """
create table touch_standing as
with unclear as (  -- users of whom some touch does not say which installation it was
    select distinct t.user_key from touch t left join installation i on i.number = t.own
    where i.number is null or not i.shown
), mine as (
    select t.user_key, t.at_us, t.event_id, t.app, t.own, i.shown,
        max(case when i.shown then (t.at_us, t.event_id) end) over sofar as proven,
        max(case when not i.shown then (t.at_us, t.event_id) end) over sofar as unproven
    from touch t left join installation i on i.number = t.own where t.user_key in (select user_key
    from unclear)
    window sofar as (partition by t.user_key order by t.at_us, t.event_id rows unbounded preceding)
)
select m.user_key, m.at_us, m.event_id,
    case when p.own is null then u.own
        when u.own is null or u.at_us < p.at_us or (u.at_us = p.at_us and u.event_id < p.event_id) then p.own
        when {same_phone} then p.own else u.own end as installation,
    case when p.own is null then u.at_us
        when u.own is null or u.at_us < p.at_us or (u.at_us = p.at_us and u.event_id < p.event_id)
        then p.at_us
        when {same_phone} then p.at_us else u.at_us end as seen_us
from mine m
left join touch p on p.user_key = m.user_key and (p.at_us, p.event_id) = m.proven
left join touch u on u.user_key = m.user_key and (u.at_us, u.event_id) = m.unproven
left join touch_look lp on lp.shown = p.shown left join touch_look lu on lu.shown = u.shown
"""

STOOD = """
update touch set installation = s.installation, seen_us = coalesce(s.seen_us, touch.seen_us)
from touch_standing s
where s.user_key = touch.user_key and s.at_us = touch.at_us and s.event_id = touch.event_id
"""

INSTALLATION = """
create table installation as
with named as (
    select n.installation, {name} as id, arg_min({phone}, l.n) as phone, any_value(l.app) as app
    from {looks} l join {numbers} n using (shown) group by 1
), system as (  -- a touch without an installation of its own changes none
    select installation, arg_max({os}, (t.occurred_at, t.event_id)) as os
    from {touches} t join {numbers} n on n.shown = t.shown group by 1
)
select a.number::integer as number, coalesce(d.id, d.phone) as id, d.app, a.device::integer as device,
    a.shown,
    s.os
from {arriving} a join named d on d.installation = a.number left join system s on s.installation = a.number
"""

WAITED = """
insert into waits
with ended as (
    select id, bool_or(what in ('accepted', 'dead', 'skipped', 'cancelled')) as over,
        arg_max(reason, place) as reason, arg_max(what, place) as what
    from receipt group by id
)
select p.destination, p.delivery, if(e.what = 'held', 'held', 'waiting'), coalesce(e.reason, '')
from planned_delivery p left join ended e on e.id = p.delivery
where p.rebinds is null and p.skip is null and not coalesce(e.over, false)
"""
"""What waited at an earlier moment: what was planned by then and had not ended."""

COUNTED_THEN = """
insert into sent
select destination, conversion, 'planned', '', count(*) from delivery group by all
union all
select destination, conversion, what, reason, count(*) from delivery
where what in ('accepted', 'dead', 'skipped', 'cancelled') group by all
"""
"""The sender's counts at an earlier moment, counted delivery by delivery."""


STEP_OF: Mapping[str, str] = {
    "registered": "registered",
    "applied": "applied",
    "credit_granted": "granted",
    "disbursed": "disbursed",
    "repaid": "repaid",
    "defaulted": "lost",
    "overdue": "lost",
}
"""The step of the funnel that each type of event takes; of `overdue`, the one by which a loan is lost."""

STEPS = ("installed", *dict.fromkeys(STEP_OF.values()))
"""The steps in their order: their numbers are quicker to count by than words."""

LOAN_EVENTS = (
    "applied",
    "credit_granted",
    "credit_denied",
    "disbursed",
    "repaid",
    "extended",
    "overdue",
    "defaulted",
    "recovered",
)
"""The event types of which both rules of binding are compared, in the order of a loan's life."""

IS_AGREED = "(not coalesce({p}.is_late, false) and {p}.last_login is not distinct from {p}.first_install)"
"""SQL of whether both rules bind an event alike, and no touch came too late to matter."""

MONEY_STEPS = ("disbursed", "repaid")
"""The steps whose money is added up."""

AD = "(hash(channel, media_source, campaign, campaign_id, ad_set, ad_set_id) >> 1)::bigint"
"""SQL of a number that is equal where an ad set's six words are: quicker to join by than those."""


def key_of_type() -> str:
    """SQL of the business key that an event is about, as `model.key_of` gives it."""
    fields: dict[str, list[str]] = {"user_id": ["registered"]}
    for kind, field in KEY_FIELD.items():
        fields.setdefault(field, []).append(kind)
    cases = " ".join(f"when type in ({words(kinds)}) then {field}" for field, kinds in fields.items())
    return f"case {cases} end"


def once() -> str:
    """SQL of the types that happen once for their key."""
    return words(sorted(ONCE_PER_KEY))


def step() -> str:
    """SQL of the number of the step that an event takes."""
    return (
        f"(case type {' '.join(f'when {word(kind)} then {STEPS.index(to)}' for kind, to in STEP_OF.items())}"
        " end)::utinyint"
    )


def step_columns() -> str:
    """Of each step in `journey`: its events (`n_…`), the first that has an hour (`us_…`), and its loans but
    those that are `apart` (`loans_…`)."""
    return ", ".join(
        f"coalesce(sum(n) filter (step = {n}), 0)::integer as n_{name},"
        f" min(us) filter (step = {n}) as us_{name},"
        f" count(loan) filter (step = {n} and not is_apart)::integer as loans_{name}"
        for n, name in enumerate(STEPS)
        if n
    )


def event_columns() -> str:
    """Of each type in `agreed`: its events (`n_…`)."""
    return ", ".join(f"count(*) filter (type = {word(kind)})::integer as n_{kind}" for kind in LOAN_EVENTS)


def money_columns() -> str:
    """The money in `journey`: how often a sum is told (`told_…`), what they and their fees add up to."""
    return ", ".join(
        f"coalesce(sum(told) filter (step = {n}), 0)::integer as told_{name},"
        f" sum(amount) filter (step = {n}) as amount_{name}, sum(fee) filter (step = {n}) as fee_{name}"
        for name in MONEY_STEPS
        for n in [STEPS.index(name)]
    )


def chosen(of: str, given: Mapping[str, str], otherwise: str) -> str:
    """SQL that gives for the value of `of` what is given for it."""
    cases = "".join(f" when {word(one)} then {word(said)}" for one, said in sorted(given.items()))
    return f"case {of}{cases} else {otherwise} end" if cases else otherwise


def words(of: Sequence[str]) -> str:
    """Texts as an SQL list."""
    return ", ".join(map(word, of))


def word(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def binds(zone: str) -> str:
    """SQL of the moment whose device counts, as in `derive.binds_at`; `zone` is that of the event's app."""
    next_day = f"date_trunc('day', occurred_at at time zone {zone}) + interval 1 day"
    end = f"epoch_us(({next_day}) at time zone {zone}) - 1"
    return (
        f"case when time_precision = 'day' then least({end}, epoch_us(received_at))"
        " else epoch_us(occurred_at) end"
    )


def day(moment: str, zone: str) -> str:
    """SQL of the app's own day; empty where the moment is not told."""
    return f"case when {moment} is null then '' else ({moment} at time zone {zone})::date::varchar end"


def ids(kinds: Iterable[str]) -> str:
    """The columns of these ids, of a touch `t`."""
    return ", ".join(f"t.{kind}" for kind in kinds)


def named(kinds: Sequence[str], looks: str = "touch_look", numbers: str = "look_number") -> str:
    """A query of the ids that installations are known by: a hash of app and id, the kind's place, the
    installation."""
    if not kinds:
        return "select null::ubigint as name, 0::bigint as place, 0 as installation where false"
    return " union all ".join(
        f"select hash(l.app, l.{kind}) as name, {place}::bigint as place, n.installation"
        f" from {looks} l join {numbers} n using (shown) where l.{kind} is not null"
        for place, kind in enumerate(kinds)
    )


def known(kinds: Sequence[str], looks: str = "touch_look") -> str:
    """A query of every id that an installation was seen with: installation, kind, value."""
    if not kinds:
        return "select null::integer as installation, '' as kind, '' as value where false"
    return " union all ".join(
        f"select n.installation, {word(kind)} as kind, l.{kind} as value"
        f" from {looks} l join look_number n using (shown) where l.{kind} is not null"
        for kind in kinds
    )


def name(kinds: Sequence[str]) -> str:
    """SQL of the first of these ids that any look of a group has."""
    shown = ", ".join(f"min(l.{kind})" for kind in kinds)
    return f"coalesce({shown or 'null'}, null)"


def phone(kinds: Sequence[str]) -> str:
    """SQL of the first of these ids that a look has, with its kind."""
    shown = ", ".join(f"{word(kind + ':')} || l.{kind}" for kind in kinds)
    return f"coalesce({shown or 'null'}, null)"


def same_phone(kinds: Sequence[str]) -> str:
    """SQL of whether the looks `lp` and `lu` are of one app and share one of these ids."""
    shared = " or ".join(f"lp.{kind} = lu.{kind}" for kind in kinds) or "false"
    return f"coalesce(lp.app = lu.app and ({shared}), false)"
