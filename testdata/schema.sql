-- The columns of Vespene's tables that are read, with the application's defaults, for tests that make pools of their own.
CREATE TABLE worker_pools (
    id integer PRIMARY KEY,
    name text NOT NULL UNIQUE,
    variables text DEFAULT '{}',
    auto_abort_minutes integer DEFAULT 1440,
    build_latest boolean DEFAULT false,
    autoscaling_enabled boolean DEFAULT true,
    excess integer DEFAULT 0,
    executor text,
    executor_command text DEFAULT 'true',
    maximum integer DEFAULT 10,
    minimum integer DEFAULT 0,
    multiplier double precision DEFAULT 1,
    planner text,
    queued_weight double precision DEFAULT 1,
    reevaluate_minutes integer DEFAULT 5,
    running_weight double precision DEFAULT 1,
    last_autoscaled timestamp with time zone,
    autoscaling_status integer
);
CREATE TABLE projects (id integer PRIMARY KEY, timeout integer DEFAULT 60);
CREATE TABLE builds (
    id integer PRIMARY KEY,
    status text NOT NULL,
    queued_time timestamp with time zone DEFAULT CURRENT_TIMESTAMP,
    start_time timestamp with time zone,
    end_time timestamp with time zone,
    pipeline_parent_build_id integer,
    project_id integer,
    worker_pool_id integer NOT NULL
);
