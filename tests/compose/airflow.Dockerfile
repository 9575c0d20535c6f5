# Stands in for the official Airflow image where no image registry is at hand: the same user, folders, variables and way
# to start, with Airflow from the package index. The official image's own entrypoint and its many providers are not here.
ARG SYSTEM_IMAGE
FROM ${SYSTEM_IMAGE}
ARG AIRFLOW_VERSION
ENV AIRFLOW_VERSION=${AIRFLOW_VERSION} \
    AIRFLOW_HOME=/opt/airflow \
    AIRFLOW_USER_HOME_DIR=/home/airflow \
    VIRTUAL_ENV=/home/airflow/.local \
    AIRFLOW__CORE__LOAD_EXAMPLES=false \
    LANG=C.UTF-8 \
    PATH=/home/airflow/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN useradd --uid 50000 --gid 0 --create-home --home-dir /home/airflow --shell /bin/bash airflow \
    && mkdir -p /opt/airflow/dags /opt/airflow/logs \
    && chown -R airflow:0 /opt/airflow \
    && chmod -R g+rwX /opt/airflow
COPY airflow_entrypoint.sh /entrypoint
USER airflow
WORKDIR /opt/airflow
COPY constraints.txt /home/airflow/constraints.txt
# What every official image has of the things docker-compose.yaml uses: Airflow and its PostgreSQL provider. Without the
# setuptools that Debian puts into an environment: current ones, and the official image, promise none.
RUN python3 -m venv /home/airflow/.local \
    && pip install --no-cache-dir --upgrade pip \
    && pip uninstall --yes setuptools \
    && pip install --no-cache-dir --constraint /home/airflow/constraints.txt \
        "apache-airflow==${AIRFLOW_VERSION}" apache-airflow-providers-postgres psycopg2-binary
ENTRYPOINT ["/usr/bin/dumb-init", "--", "/bin/bash", "/entrypoint"]
