-- Three tables of a real Vespene database, as its own migrations make them on PostgreSQL 15 (every column, index and
-- constraint but the foreign keys to tables that are not here), with its five worker pools, its projects and of its
-- builds the 55 that are active and 20 others. By Vespene's manual:
--
--   pool         queued                        running  size  queued_size
--   general      18 builds of 11 projects      6        17    11
--   AmazonLinux  10 builds, 2 without project  4        23    10
--   win-2019     7 builds of 3 projects        3        8     3
--   Bob's Pool   3 builds of 3 projects        1        5     3 (its command puts the name into the shell unquoted)
--   legacy       disabled
CREATE TABLE public.builds (
    id integer NOT NULL,
    is_internal boolean NOT NULL,
    revision character varying(20),
    revision_username character varying(512),
    queued_time timestamp with time zone,
    start_time timestamp with time zone,
    end_time timestamp with time zone,
    return_code integer,
    status character varying(20) NOT NULL,
    output text,
    messages text,
    working_dir character varying(1024) NOT NULL,
    variables text NOT NULL,
    launch_answers text,
    output_variables text NOT NULL,
    script text,
    pipeline_origin_build_id integer,
    pipeline_parent_build_id integer,
    created_by_id integer,
    organization_id integer,
    pipeline_id integer,
    project_id integer,
    worker_id integer,
    worker_pool_id integer NOT NULL
);
CREATE SEQUENCE public.builds_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.builds_id_seq OWNED BY public.builds.id;
CREATE TABLE public.projects (
    id integer NOT NULL,
    name character varying(512) NOT NULL,
    pipeline_enabled boolean NOT NULL,
    description text NOT NULL,
    repo_url character varying(1024) NOT NULL,
    repo_branch character varying(255) NOT NULL,
    scm_type character varying(30) NOT NULL,
    webhook_enabled boolean NOT NULL,
    webhook_token character varying(128),
    script text,
    timeout integer NOT NULL,
    container_base_image character varying(512),
    variables text,
    launch_questions text NOT NULL,
    schedule_enabled boolean NOT NULL,
    monday boolean NOT NULL,
    tuesday boolean NOT NULL,
    wednesday boolean NOT NULL,
    thursday boolean NOT NULL,
    friday boolean NOT NULL,
    saturday boolean NOT NULL,
    sunday boolean NOT NULL,
    weekday_start_hours character varying(512),
    weekday_start_minutes character varying(512),
    weekend_start_hours character varying(512),
    weekend_start_minutes character varying(512),
    schedule_threshold integer NOT NULL,
    active_build_id integer,
    created_by_id integer,
    last_build_id integer,
    last_successful_build_id integer,
    pipeline_id integer,
    scm_login_id integer,
    stage_id integer,
    worker_pool_id integer NOT NULL,
    recursive boolean NOT NULL
);
CREATE SEQUENCE public.projects_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.projects_id_seq OWNED BY public.projects.id;
CREATE TABLE public.worker_pools (
    id integer NOT NULL,
    name character varying(512) NOT NULL,
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
CREATE SEQUENCE public.worker_pools_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.worker_pools_id_seq OWNED BY public.worker_pools.id;
ALTER TABLE ONLY public.builds ALTER COLUMN id SET DEFAULT nextval('public.builds_id_seq'::regclass);
ALTER TABLE ONLY public.projects ALTER COLUMN id SET DEFAULT nextval('public.projects_id_seq'::regclass);
ALTER TABLE ONLY public.worker_pools ALTER COLUMN id SET DEFAULT nextval('public.worker_pools_id_seq'::regclass);
INSERT INTO public.builds VALUES (200050, false, NULL, NULL, '2026-11-21 23:59:25+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 41, NULL, 3);
INSERT INTO public.builds VALUES (200051, false, NULL, NULL, '2026-11-21 23:59:24+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 43, NULL, 4);
INSERT INTO public.builds VALUES (200052, false, NULL, NULL, '2026-11-21 23:59:23+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 44, NULL, 4);
INSERT INTO public.builds VALUES (200053, false, NULL, NULL, '2026-11-21 23:59:22+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 45, NULL, 4);
INSERT INTO public.builds VALUES (200054, false, NULL, NULL, '2026-11-21 23:59:21+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 48, NULL, 5);
INSERT INTO public.builds VALUES (200055, false, NULL, NULL, '2026-11-21 23:59:20+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 48, NULL, 5);
INSERT INTO public.builds VALUES (182000, false, '68b8e5ef7ee639c64b2e', 'dev34@example.com', '2026-11-19 07:11:48.17+00', '2026-11-19 07:12:45.872913+00', '2026-11-19 07:16:36.3038+00', 0, 'SUCCESS', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 22, 9, 1);
INSERT INTO public.builds VALUES (184000, false, 'bf4dd9bea520a3fa6d8a', 'dev36@example.com', '2026-11-19 14:23:48.04+00', '2026-11-19 14:24:43.601451+00', '2026-11-19 14:52:45.395804+00', 0, 'SUCCESS', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 31, 5, 2);
INSERT INTO public.builds VALUES (186000, false, 'c3949d176f9767e0a6df', 'dev1@example.com', '2026-11-19 21:35:47.91+00', '2026-11-19 21:36:25.09214+00', '2026-11-19 21:47:22.60637+00', 0, 'SUCCESS', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 11, 1, 1);
INSERT INTO public.builds VALUES (188000, false, '55fe6c0330955d35a680', 'dev3@example.com', '2026-11-20 04:47:47.78+00', '2026-11-20 04:48:57.113598+00', '2026-11-20 04:50:57.37746+00', 1, 'FAILURE', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 41, 9, 3);
INSERT INTO public.builds VALUES (190000, false, 'dc5346dc394611e983c1', 'dev5@example.com', '2026-11-20 11:59:47.65+00', '2026-11-20 12:00:58.203452+00', '2026-11-20 12:06:00.977895+00', 0, 'SUCCESS', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 7, 5, 1);
INSERT INTO public.builds VALUES (192000, false, '6fc7ba85849f3c418b4a', 'dev7@example.com', '2026-11-20 19:11:47.52+00', NULL, NULL, 1, 'ABORTED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 49, 1, 5);
INSERT INTO public.builds VALUES (194000, false, '6ff8a0f1b3775726e87c', 'dev9@example.com', '2026-11-21 02:23:47.39+00', '2026-11-21 02:24:31.237491+00', '2026-11-21 02:25:00.434519+00', 0, 'SUCCESS', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 13, 9, 1);
INSERT INTO public.builds VALUES (196000, false, '92a8cd22020d63c259a0', 'dev11@example.com', '2026-11-21 09:35:47.26+00', '2026-11-21 09:36:12.355634+00', '2026-11-21 09:39:32.307347+00', 0, 'SUCCESS', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 4, 5, 1);
INSERT INTO public.builds VALUES (198000, false, 'ebab58c3b48f68f2c46e', 'dev13@example.com', '2026-11-21 16:47:47.13+00', '2026-11-21 16:49:12.652766+00', '2026-11-21 16:59:07.643875+00', 0, 'SUCCESS', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 1, 1, 1);
INSERT INTO public.builds VALUES (200033, false, NULL, NULL, '2026-11-21 23:59:42+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 11, NULL, 1);
INSERT INTO public.builds VALUES (200034, false, NULL, NULL, '2026-11-21 23:59:41+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 26, NULL, 2);
INSERT INTO public.builds VALUES (200035, false, NULL, NULL, '2026-11-21 23:59:40+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 26, NULL, 2);
INSERT INTO public.builds VALUES (200036, false, NULL, NULL, '2026-11-21 23:59:39+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 26, NULL, 2);
INSERT INTO public.builds VALUES (200037, false, NULL, NULL, '2026-11-21 23:59:38+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 29, NULL, 2);
INSERT INTO public.builds VALUES (200038, false, NULL, NULL, '2026-11-21 23:59:37+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 30, NULL, 2);
INSERT INTO public.builds VALUES (200039, false, NULL, NULL, '2026-11-21 23:59:36+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 31, NULL, 2);
INSERT INTO public.builds VALUES (200040, false, NULL, NULL, '2026-11-21 23:59:35+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 32, NULL, 2);
INSERT INTO public.builds VALUES (200041, false, NULL, NULL, '2026-11-21 23:59:34+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 32, NULL, 2);
INSERT INTO public.builds VALUES (200042, true, NULL, NULL, '2026-11-21 23:59:33+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, 1, NULL, NULL, NULL, 2);
INSERT INTO public.builds VALUES (200043, true, NULL, NULL, '2026-11-21 23:59:32+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, 1, NULL, NULL, NULL, 2);
INSERT INTO public.builds VALUES (200044, false, NULL, NULL, '2026-11-21 23:59:31+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 37, NULL, 3);
INSERT INTO public.builds VALUES (200045, false, NULL, NULL, '2026-11-21 23:59:30+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 37, NULL, 3);
INSERT INTO public.builds VALUES (200046, false, NULL, NULL, '2026-11-21 23:59:29+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 37, NULL, 3);
INSERT INTO public.builds VALUES (200047, false, NULL, NULL, '2026-11-21 23:59:28+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 40, NULL, 3);
INSERT INTO public.builds VALUES (200048, false, NULL, NULL, '2026-11-21 23:59:27+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 40, NULL, 3);
INSERT INTO public.builds VALUES (200049, false, NULL, NULL, '2026-11-21 23:59:26+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 41, NULL, 3);
INSERT INTO public.builds VALUES (200000, false, 'a945c0b036baa283ff08', 'dev15@example.com', '2026-11-21 23:59:47+00', '2026-11-22 00:01:15.407535+00', '2026-11-22 00:07:05.740006+00', 0, 'SUCCESS', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 43, 9, 4);
INSERT INTO public.builds VALUES (200001, false, NULL, NULL, '2026-11-21 23:54:00+00', '2026-11-21 23:55:00+00', NULL, NULL, 'RUNNING', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 3, 2, 1);
INSERT INTO public.builds VALUES (200002, false, NULL, NULL, '2026-11-21 23:54:00+00', '2026-11-21 23:55:00+00', NULL, NULL, 'RUNNING', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 5, 3, 1);
INSERT INTO public.builds VALUES (200003, false, NULL, NULL, '2026-11-21 23:54:00+00', '2026-11-21 23:55:00+00', NULL, NULL, 'RUNNING', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 7, 4, 1);
INSERT INTO public.builds VALUES (200004, false, NULL, NULL, '2026-11-21 23:54:00+00', '2026-11-21 23:55:00+00', NULL, NULL, 'RUNNING', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 9, 5, 1);
INSERT INTO public.builds VALUES (200005, false, NULL, NULL, '2026-11-21 23:54:00+00', '2026-11-21 23:55:00+00', NULL, NULL, 'RUNNING', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 11, 6, 1);
INSERT INTO public.builds VALUES (200006, false, NULL, NULL, '2026-11-21 23:54:00+00', '2026-11-21 23:55:00+00', NULL, NULL, 'RUNNING', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 13, 7, 1);
INSERT INTO public.builds VALUES (200007, false, NULL, NULL, '2026-11-21 23:54:00+00', '2026-11-21 23:55:00+00', NULL, NULL, 'RUNNING', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 26, 8, 2);
INSERT INTO public.builds VALUES (200008, false, NULL, NULL, '2026-11-21 23:54:00+00', '2026-11-21 23:55:00+00', NULL, NULL, 'RUNNING', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 27, 9, 2);
INSERT INTO public.builds VALUES (200009, false, NULL, NULL, '2026-11-21 23:54:00+00', '2026-11-21 23:55:00+00', NULL, NULL, 'RUNNING', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 28, 10, 2);
INSERT INTO public.builds VALUES (200010, true, NULL, NULL, '2026-11-21 23:54:00+00', '2026-11-21 23:55:00+00', NULL, NULL, 'RUNNING', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, 1, NULL, NULL, 11, 2);
INSERT INTO public.builds VALUES (200011, false, NULL, NULL, '2026-11-21 23:54:00+00', '2026-11-21 23:55:00+00', NULL, NULL, 'RUNNING', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 37, 12, 3);
INSERT INTO public.builds VALUES (200012, false, NULL, NULL, '2026-11-21 23:54:00+00', '2026-11-21 23:55:00+00', NULL, NULL, 'RUNNING', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 38, 1, 3);
INSERT INTO public.builds VALUES (200013, false, NULL, NULL, '2026-11-21 23:54:00+00', '2026-11-21 23:55:00+00', NULL, NULL, 'RUNNING', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 39, 2, 3);
INSERT INTO public.builds VALUES (200014, false, NULL, NULL, '2026-11-21 23:54:00+00', '2026-11-21 23:55:00+00', NULL, NULL, 'RUNNING', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 43, 3, 4);
INSERT INTO public.builds VALUES (200015, false, NULL, NULL, '2026-11-21 23:54:00+00', '2026-11-21 23:55:00+00', NULL, NULL, 'RUNNING', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 47, 4, 5);
INSERT INTO public.builds VALUES (200016, false, NULL, NULL, '2026-11-21 23:59:59+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 1, NULL, 1);
INSERT INTO public.builds VALUES (200017, false, NULL, NULL, '2026-11-21 23:59:58+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 1, NULL, 1);
INSERT INTO public.builds VALUES (200018, false, NULL, NULL, '2026-11-21 23:59:57+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 1, NULL, 1);
INSERT INTO public.builds VALUES (200019, false, NULL, NULL, '2026-11-21 23:59:56+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 1, NULL, 1);
INSERT INTO public.builds VALUES (200020, false, NULL, NULL, '2026-11-21 23:59:55+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 2, NULL, 1);
INSERT INTO public.builds VALUES (200021, false, NULL, NULL, '2026-11-21 23:59:54+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 2, NULL, 1);
INSERT INTO public.builds VALUES (200022, false, NULL, NULL, '2026-11-21 23:59:53+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 2, NULL, 1);
INSERT INTO public.builds VALUES (200023, false, NULL, NULL, '2026-11-21 23:59:52+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 3, NULL, 1);
INSERT INTO public.builds VALUES (200024, false, NULL, NULL, '2026-11-21 23:59:51+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 3, NULL, 1);
INSERT INTO public.builds VALUES (200025, false, NULL, NULL, '2026-11-21 23:59:50+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 4, NULL, 1);
INSERT INTO public.builds VALUES (200026, false, NULL, NULL, '2026-11-21 23:59:49+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 5, NULL, 1);
INSERT INTO public.builds VALUES (200027, false, NULL, NULL, '2026-11-21 23:59:48+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 6, NULL, 1);
INSERT INTO public.builds VALUES (200028, false, NULL, NULL, '2026-11-21 23:59:47+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 7, NULL, 1);
INSERT INTO public.builds VALUES (200029, false, NULL, NULL, '2026-11-21 23:59:46+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 8, NULL, 1);
INSERT INTO public.builds VALUES (200030, false, NULL, NULL, '2026-11-21 23:59:45+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 9, NULL, 1);
INSERT INTO public.builds VALUES (200031, false, NULL, NULL, '2026-11-21 23:59:44+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 10, NULL, 1);
INSERT INTO public.builds VALUES (200032, false, NULL, NULL, '2026-11-21 23:59:43+00', NULL, NULL, NULL, 'QUEUED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 11, NULL, 1);
INSERT INTO public.builds VALUES (181000, false, '129fe7f03753ae7d092b', 'dev33@example.com', '2026-11-19 03:35:48.235+00', '2026-11-19 03:36:17.863667+00', '2026-11-19 03:44:55.416567+00', 0, 'SUCCESS', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 17, 5, 1);
INSERT INTO public.builds VALUES (183000, false, '40361a2f3d610b0f78cd', 'dev35@example.com', '2026-11-19 10:47:48.105+00', '2026-11-19 10:48:49.679777+00', '2026-11-19 10:52:45.873717+00', 0, 'SUCCESS', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 45, 1, 4);
INSERT INTO public.builds VALUES (185000, false, '8f2bb994a86605262ac2', 'dev0@example.com', '2026-11-19 17:59:47.975+00', '2026-11-19 18:00:15.717257+00', '2026-11-19 18:10:33.141093+00', 0, 'SUCCESS', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 2, 9, 1);
INSERT INTO public.builds VALUES (187000, false, '4d9519a6e44c2a1e4598', 'dev2@example.com', '2026-11-20 01:11:47.845+00', '2026-11-20 01:12:17.017679+00', '2026-11-20 01:14:30.756125+00', 1, 'FAILURE', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 32, 5, 2);
INSERT INTO public.builds VALUES (189000, false, '7b52e58c17246c5ca0ed', 'dev4@example.com', '2026-11-20 08:23:47.715+00', '2026-11-20 08:25:14.256706+00', '2026-11-20 08:27:54.988137+00', 0, 'SUCCESS', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 2, 1, 1);
INSERT INTO public.builds VALUES (191000, false, '7aa813e9732b609db83d', 'dev6@example.com', '2026-11-20 15:35:47.585+00', NULL, NULL, 1, 'ABORTED', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 18, 9, 1);
INSERT INTO public.builds VALUES (193000, false, '4b019d681f76335388a5', 'dev8@example.com', '2026-11-20 22:47:47.455+00', '2026-11-20 22:48:52.284995+00', '2026-11-20 23:00:30.517563+00', 0, 'SUCCESS', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 25, 5, 1);
INSERT INTO public.builds VALUES (195000, false, 'd8dae21146beb43df155', 'dev10@example.com', '2026-11-21 05:59:47.325+00', '2026-11-21 06:00:59.437528+00', '2026-11-21 06:03:39.024216+00', 0, 'SUCCESS', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 39, 1, 3);
INSERT INTO public.builds VALUES (197000, false, 'c8a4e5e1cfe775455280', 'dev12@example.com', '2026-11-21 13:11:47.195+00', '2026-11-21 13:13:08.168899+00', '2026-11-21 13:31:25.626775+00', 0, 'SUCCESS', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 15, 9, 1);
INSERT INTO public.builds VALUES (199000, false, 'cae59cf6857251d733db', 'dev14@example.com', '2026-11-21 20:23:47.065+00', '2026-11-21 20:24:01.084643+00', '2026-11-21 20:34:13.737574+00', 0, 'SUCCESS', NULL, NULL, '', '{}', '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, 47, 5, 5);
INSERT INTO public.projects VALUES (1, 'project-01', true, '', 'https://git.example.com/team/svc-1.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, false);
INSERT INTO public.projects VALUES (2, 'project-02', true, '', 'https://git.example.com/team/svc-2.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, false);
INSERT INTO public.projects VALUES (3, 'project-03', true, '', 'https://git.example.com/team/svc-3.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, false);
INSERT INTO public.projects VALUES (4, 'project-04', true, '', 'https://git.example.com/team/svc-4.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, false);
INSERT INTO public.projects VALUES (5, 'project-05', true, '', 'https://git.example.com/team/svc-5.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, false);
INSERT INTO public.projects VALUES (6, 'project-06', true, '', 'https://git.example.com/team/svc-6.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, false);
INSERT INTO public.projects VALUES (7, 'project-07', true, '', 'https://git.example.com/team/svc-7.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, false);
INSERT INTO public.projects VALUES (8, 'project-08', true, '', 'https://git.example.com/team/svc-8.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, false);
INSERT INTO public.projects VALUES (9, 'project-09', true, '', 'https://git.example.com/team/svc-9.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, false);
INSERT INTO public.projects VALUES (10, 'project-10', true, '', 'https://git.example.com/team/svc-10.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, false);
INSERT INTO public.projects VALUES (11, 'project-11', true, '', 'https://git.example.com/team/svc-11.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, false);
INSERT INTO public.projects VALUES (12, 'project-12', true, '', 'https://git.example.com/team/svc-12.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, false);
INSERT INTO public.projects VALUES (13, 'project-13', true, '', 'https://git.example.com/team/svc-13.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, false);
INSERT INTO public.projects VALUES (14, 'project-14', true, '', 'https://git.example.com/team/svc-14.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, false);
INSERT INTO public.projects VALUES (15, 'project-15', true, '', 'https://git.example.com/team/svc-15.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, false);
INSERT INTO public.projects VALUES (16, 'project-16', true, '', 'https://git.example.com/team/svc-16.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, false);
INSERT INTO public.projects VALUES (17, 'project-17', true, '', 'https://git.example.com/team/svc-17.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, false);
INSERT INTO public.projects VALUES (18, 'project-18', true, '', 'https://git.example.com/team/svc-18.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, false);
INSERT INTO public.projects VALUES (19, 'project-19', true, '', 'https://git.example.com/team/svc-19.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, false);
INSERT INTO public.projects VALUES (20, 'project-20', true, '', 'https://git.example.com/team/svc-20.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, false);
INSERT INTO public.projects VALUES (21, 'project-21', true, '', 'https://git.example.com/team/svc-21.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, false);
INSERT INTO public.projects VALUES (22, 'project-22', true, '', 'https://git.example.com/team/svc-22.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, false);
INSERT INTO public.projects VALUES (23, 'project-23', true, '', 'https://git.example.com/team/svc-23.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, false);
INSERT INTO public.projects VALUES (24, 'project-24', true, '', 'https://git.example.com/team/svc-24.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, false);
INSERT INTO public.projects VALUES (25, 'project-25', true, '', 'https://git.example.com/team/svc-25.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, false);
INSERT INTO public.projects VALUES (26, 'project-26', true, '', 'https://git.example.com/team/svc-26.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 2, false);
INSERT INTO public.projects VALUES (27, 'project-27', true, '', 'https://git.example.com/team/svc-27.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 2, false);
INSERT INTO public.projects VALUES (28, 'project-28', true, '', 'https://git.example.com/team/svc-28.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 2, false);
INSERT INTO public.projects VALUES (29, 'project-29', true, '', 'https://git.example.com/team/svc-29.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 2, false);
INSERT INTO public.projects VALUES (30, 'project-30', true, '', 'https://git.example.com/team/svc-30.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 2, false);
INSERT INTO public.projects VALUES (31, 'project-31', true, '', 'https://git.example.com/team/svc-31.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 2, false);
INSERT INTO public.projects VALUES (32, 'project-32', true, '', 'https://git.example.com/team/svc-32.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 2, false);
INSERT INTO public.projects VALUES (33, 'project-33', true, '', 'https://git.example.com/team/svc-33.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 2, false);
INSERT INTO public.projects VALUES (34, 'project-34', true, '', 'https://git.example.com/team/svc-34.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 2, false);
INSERT INTO public.projects VALUES (35, 'project-35', true, '', 'https://git.example.com/team/svc-35.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 2, false);
INSERT INTO public.projects VALUES (36, 'project-36', true, '', 'https://git.example.com/team/svc-36.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 2, false);
INSERT INTO public.projects VALUES (37, 'project-37', true, '', 'https://git.example.com/team/svc-37.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 3, false);
INSERT INTO public.projects VALUES (38, 'project-38', true, '', 'https://git.example.com/team/svc-38.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 3, false);
INSERT INTO public.projects VALUES (39, 'project-39', true, '', 'https://git.example.com/team/svc-39.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 3, false);
INSERT INTO public.projects VALUES (40, 'project-40', true, '', 'https://git.example.com/team/svc-40.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 3, false);
INSERT INTO public.projects VALUES (41, 'project-41', true, '', 'https://git.example.com/team/svc-41.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 3, false);
INSERT INTO public.projects VALUES (42, 'project-42', true, '', 'https://git.example.com/team/svc-42.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 3, false);
INSERT INTO public.projects VALUES (43, 'project-43', true, '', 'https://git.example.com/team/svc-43.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 4, false);
INSERT INTO public.projects VALUES (44, 'project-44', true, '', 'https://git.example.com/team/svc-44.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 4, false);
INSERT INTO public.projects VALUES (45, 'project-45', true, '', 'https://git.example.com/team/svc-45.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 4, false);
INSERT INTO public.projects VALUES (46, 'project-46', true, '', 'https://git.example.com/team/svc-46.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 4, false);
INSERT INTO public.projects VALUES (47, 'project-47', true, '', 'https://git.example.com/team/svc-47.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 5, false);
INSERT INTO public.projects VALUES (48, 'project-48', true, '', 'https://git.example.com/team/svc-48.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 5, false);
INSERT INTO public.projects VALUES (49, 'project-49', true, '', 'https://git.example.com/team/svc-49.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 5, false);
INSERT INTO public.projects VALUES (50, 'project-50', true, '', 'https://git.example.com/team/svc-50.git', 'master', 'git', true, NULL, NULL, 60, '', '{}', '[]', false, false, false, false, false, false, false, false, '', '', '', '', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 5, false);
INSERT INTO public.worker_pools VALUES (1, 'general', '{"region":"eu-west-1"}', 'sudo', 'vespene', '0x777', 10, 1440, true, 365, 31, NULL, true, NULL, 0, 'shell', 'echo size={{ size }} queued={{ queued_size }} pool={{ worker_pool.name }}', NULL, 100, 0, 1, 'stock', 1, 10, 1);
INSERT INTO public.worker_pools VALUES (2, 'AmazonLinux', '{}', 'basic_container', NULL, '0x777', 10, 1440, false, 365, 31, NULL, true, 0, 2, 'shell', 'echo size={{ size }} queued={{ queued_size }} pool={{ worker_pool.name }}', '2026-11-21 23:58:00+00', 40, 1, 1.5, 'stock', 1, 5, 1);
INSERT INTO public.worker_pools VALUES (3, 'win-2019', '{"os":"windows"}', 'basic_container', NULL, '0x777', 30, 720, true, 365, 31, NULL, true, 1, 0, 'shell', 'echo size={{ size }} queued={{ queued_size }} pool={{ worker_pool.name }}', '2026-11-21 23:00:00+00', 8, 2, 1, 'stock', 2, 15, 0.5);
INSERT INTO public.worker_pools VALUES (4, 'Bob''s Pool', '{}', 'sudo', 'bob', '0x755', 10, 1440, true, 365, 31, NULL, true, NULL, 1, 'shell', 'echo size={{ size }} queued={{ queued_size }} pool={{ worker_pool.name }}', NULL, 10, 3, 1, 'stock', 1, 10, 1);
INSERT INTO public.worker_pools VALUES (5, 'legacy', '{}', 'sudo', NULL, '0x777', 10, 1440, true, 365, 31, NULL, false, NULL, 0, NULL, 'echo size={{ size }} queued={{ queued_size }} pool={{ worker_pool.name }}', NULL, 10, 0, 1, NULL, 1, 10, 1);
ALTER TABLE ONLY public.builds
    ADD CONSTRAINT builds_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.projects
    ADD CONSTRAINT projects_name_key UNIQUE (name);
ALTER TABLE ONLY public.projects
    ADD CONSTRAINT projects_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.worker_pools
    ADD CONSTRAINT worker_pools_name_key UNIQUE (name);
ALTER TABLE ONLY public.worker_pools
    ADD CONSTRAINT worker_pools_pkey PRIMARY KEY (id);
CREATE INDEX builds_created_by_id_5b61e587 ON public.builds USING btree (created_by_id);
CREATE INDEX builds_organization_id_65f6307d ON public.builds USING btree (organization_id);
CREATE INDEX builds_pipeline_id_22984bdc ON public.builds USING btree (pipeline_id);
CREATE INDEX builds_project_id_6734e488 ON public.builds USING btree (project_id);
CREATE INDEX builds_worker_id_22fdec99 ON public.builds USING btree (worker_id);
CREATE INDEX builds_worker_pool_id_6afeea57 ON public.builds USING btree (worker_pool_id);
CREATE INDEX execution_project_idx ON public.builds USING btree (project_id);
CREATE INDEX project_name_idx ON public.projects USING btree (name);
CREATE INDEX projects_active_build_id_8e8971b2 ON public.projects USING btree (active_build_id);
CREATE INDEX projects_created_by_id_7e51a33d ON public.projects USING btree (created_by_id);
CREATE INDEX projects_last_build_id_d275c911 ON public.projects USING btree (last_build_id);
CREATE INDEX projects_last_successful_build_id_862e2539 ON public.projects USING btree (last_successful_build_id);
CREATE INDEX projects_name_fb20444c_like ON public.projects USING btree (name varchar_pattern_ops);
CREATE INDEX projects_pipeline_id_02847f96 ON public.projects USING btree (pipeline_id);
CREATE INDEX projects_scm_login_id_6887be06 ON public.projects USING btree (scm_login_id);
CREATE INDEX projects_stage_id_afcc2108 ON public.projects USING btree (stage_id);
CREATE INDEX projects_worker_pool_id_d1153e6f ON public.projects USING btree (worker_pool_id);
CREATE INDEX worker_pool_name_idx ON public.worker_pools USING btree (name);
CREATE INDEX worker_pools_created_by_id_6473c133 ON public.worker_pools USING btree (created_by_id);
CREATE INDEX worker_pools_name_73c5b52f_like ON public.worker_pools USING btree (name varchar_pattern_ops);
ALTER TABLE ONLY public.builds
    ADD CONSTRAINT builds_pipeline_id_22984bdc_fk_projects_id FOREIGN KEY (pipeline_id) REFERENCES public.projects(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.builds
    ADD CONSTRAINT builds_project_id_6734e488_fk_projects_id FOREIGN KEY (project_id) REFERENCES public.projects(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.builds
    ADD CONSTRAINT builds_worker_pool_id_6afeea57_fk_worker_pools_id FOREIGN KEY (worker_pool_id) REFERENCES public.worker_pools(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.projects
    ADD CONSTRAINT projects_active_build_id_8e8971b2_fk_builds_id FOREIGN KEY (active_build_id) REFERENCES public.builds(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.projects
    ADD CONSTRAINT projects_last_build_id_d275c911_fk_builds_id FOREIGN KEY (last_build_id) REFERENCES public.builds(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.projects
    ADD CONSTRAINT projects_last_successful_build_id_862e2539_fk_builds_id FOREIGN KEY (last_successful_build_id) REFERENCES public.builds(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.projects
    ADD CONSTRAINT projects_worker_pool_id_d1153e6f_fk_worker_pools_id FOREIGN KEY (worker_pool_id) REFERENCES public.worker_pools(id) DEFERRABLE INITIALLY DEFERRED;
