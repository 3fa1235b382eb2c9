-- A small Vespene database to try vespene-autoscale with; its commands only echo. PostgreSQL and SQLite both take it.
-- Of Vespene's tables it has the three that are read, with every column of worker_pools and those of the others that
-- matter here.

CREATE TABLE worker_pools (
    id integer PRIMARY KEY,
    name character varying(512) NOT NULL UNIQUE,
    variables text,
    isolation_method character varying(50) NOT NULL,
    sudo_user character varying(100),
    permissions_hex character varying(5) NOT NULL,
    sleep_seconds integer NOT NULL,
    auto_abort_minutes integer NOT NULL,
    build_latest boolean NOT NULL,
    build_object_shelf_life integer NOT NULL,
    build_root_shelf_life integer NOT NULL,
    created_by_id integer,
    autoscaling_enabled boolean NOT NULL,
    autoscaling_status integer,
    excess integer NOT NULL,
    executor character varying(512),
    executor_command character varying(1024) NOT NULL,
    last_autoscaled timestamp with time zone,
    maximum integer NOT NULL,
    minimum integer NOT NULL,
    multiplier double precision NOT NULL,
    planner character varying(512),
    queued_weight double precision NOT NULL,
    reevaluate_minutes integer NOT NULL,
    running_weight double precision NOT NULL
);

CREATE TABLE projects (
    id integer PRIMARY KEY,
    name character varying(512) NOT NULL UNIQUE,
    timeout integer NOT NULL,
    worker_pool_id integer NOT NULL REFERENCES worker_pools (id)
);

CREATE TABLE builds (
    id integer PRIMARY KEY,
    status character varying(20) NOT NULL,
    queued_time timestamp with time zone,
    start_time timestamp with time zone,
    end_time timestamp with time zone,
    pipeline_parent_build_id integer,
    project_id integer REFERENCES projects (id),
    worker_pool_id integer NOT NULL REFERENCES worker_pools (id)
);

INSERT INTO worker_pools (id, name, variables, isolation_method, permissions_hex, sleep_seconds, auto_abort_minutes,
    build_latest, build_object_shelf_life, build_root_shelf_life, autoscaling_enabled, excess, executor,
    executor_command, maximum, minimum, multiplier, planner, queued_weight, reevaluate_minutes, running_weight) VALUES
    -- As its maker left it: one worker for each project that waits and each build that runs.
    (1, 'linux', '{"group": "ci-linux"}', 'sudo', '0x777', 10, 1440, true, 365, 31, true, 0, 'shell',
     'echo aws autoscaling set-desired-capacity --auto-scaling-group-name {{ variables.group }} --desired-capacity {{ size }}',
     10, 1, 1, 'stock', 1, 5, 1),
    -- Four workers on each machine, and half a machine to spare.
    (2, 'windows', '{}', 'basic_container', '0x777', 30, 720, true, 365, 31, true, 1, 'shell',
     'echo terraform apply -var "size=$VESPENE_SIZE"', 8, 0, 0.25, 'stock', 2, 10, 1),
    -- Every build counts, and the system below only ever adds workers, which end after one build each.
    (3, 'arm', '{}', 'sudo', '0x777', 10, 1440, false, 365, 31, true, 0, 'shell',
     'echo "starting {{ queued_size }} workers for {{ worker_pool.name }}"', 5, 0, 1, 'stock', 1, 5, 0),
    (4, 'legacy', '{}', 'sudo', '0x777', 10, 1440, true, 365, 31, false, 0, NULL, '', 10, 0, 1, NULL, 1, 10, 1);

INSERT INTO projects (id, name, timeout, worker_pool_id) VALUES
    (1, 'website', 60, 1), (2, 'api', 60, 1), (3, 'billing', 30, 1), (4, 'installer', 120, 2), (5, 'driver', 60, 2),
    (6, 'firmware', 60, 3), (7, 'archive', 60, 4);

INSERT INTO builds (id, status, queued_time, start_time, end_time, project_id, worker_pool_id) VALUES
    (1, 'SUCCESS', CURRENT_TIMESTAMP, CURRENT_TIMESTAMP, CURRENT_TIMESTAMP, 1, 1),
    (2, 'FAILURE', CURRENT_TIMESTAMP, CURRENT_TIMESTAMP, CURRENT_TIMESTAMP, 2, 1),
    (3, 'RUNNING', CURRENT_TIMESTAMP, CURRENT_TIMESTAMP, NULL, 1, 1),
    (4, 'RUNNING', CURRENT_TIMESTAMP, CURRENT_TIMESTAMP, NULL, 2, 1),
    (5, 'QUEUED', CURRENT_TIMESTAMP, NULL, NULL, 1, 1), -- four builds of one project, of which a worker takes one
    (6, 'QUEUED', CURRENT_TIMESTAMP, NULL, NULL, 1, 1),
    (7, 'QUEUED', CURRENT_TIMESTAMP, NULL, NULL, 1, 1),
    (8, 'QUEUED', CURRENT_TIMESTAMP, NULL, NULL, 1, 1),
    (9, 'QUEUED', CURRENT_TIMESTAMP, NULL, NULL, 2, 1),
    (10, 'QUEUED', CURRENT_TIMESTAMP, NULL, NULL, 3, 1),
    (11, 'RUNNING', CURRENT_TIMESTAMP, CURRENT_TIMESTAMP, NULL, 4, 2),
    (12, 'RUNNING', CURRENT_TIMESTAMP, CURRENT_TIMESTAMP, NULL, 5, 2),
    (13, 'QUEUED', CURRENT_TIMESTAMP, NULL, NULL, 4, 2),
    (14, 'QUEUED', CURRENT_TIMESTAMP, NULL, NULL, 5, 2),
    (15, 'RUNNING', CURRENT_TIMESTAMP, CURRENT_TIMESTAMP, NULL, 6, 3),
    (16, 'QUEUED', CURRENT_TIMESTAMP, NULL, NULL, 6, 3),
    (17, 'QUEUED', CURRENT_TIMESTAMP, NULL, NULL, 6, 3),
    (18, 'QUEUED', CURRENT_TIMESTAMP, NULL, NULL, 6, 3),
    (19, 'QUEUED', CURRENT_TIMESTAMP, NULL, NULL, 6, 3),
    (20, 'QUEUED', CURRENT_TIMESTAMP, NULL, NULL, 6, 3),
    (21, 'QUEUED', CURRENT_TIMESTAMP, NULL, NULL, 6, 3),
    (22, 'QUEUED', CURRENT_TIMESTAMP, NULL, NULL, 7, 4);
