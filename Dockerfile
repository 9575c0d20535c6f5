# The official Airflow image with this provider in it, at the versions of constraints.txt, which the tests ran with.
#
#   docker build -t anomstack-provider:local --build-arg EXTRAS=demo .
#
# Another base (another Airflow or Python, or your own image made from the official one): --build-arg BASE_IMAGE=...
# It has to offer what the official image does: the user "airflow", Airflow on the PATH, AIRFLOW_VERSION, AIRFLOW_HOME.
ARG BASE_IMAGE=apache/airflow:3.3.2-python3.11

# The wheel, and what it requires as a list of its own: the slow layer below is then rebuilt only when a requirement
# changes, not with every change of the code.
FROM ${BASE_IMAGE} AS wheel
ARG EXTRAS=""
RUN mkdir -p /tmp/source
WORKDIR /tmp/source
COPY --chown=airflow:0 . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /tmp/wheel . \
    && python docker/wheel_requirements.py /tmp/wheel/*.whl ${EXTRAS} > /tmp/wheel/requirements.txt

FROM ${BASE_IMAGE}
COPY constraints.txt /opt/anomstack/constraints.txt
COPY --from=wheel /tmp/wheel/requirements.txt /opt/anomstack/requirements.txt
# Naming Airflow keeps pip from replacing the base's Airflow: a base that constraints.txt is not for fails here.
# The base brings providers that this one does not use. `pip check` tells which of them ask for other versions than the
# tested ones; that is worth knowing and no reason to stop.
RUN pip install --no-cache-dir --constraint /opt/anomstack/constraints.txt \
        "apache-airflow==${AIRFLOW_VERSION}" --requirement /opt/anomstack/requirements.txt \
    && (pip check || echo "NOTE: packages of the base image disagree with constraints.txt, see the lines above")

COPY --from=wheel /tmp/wheel/*.whl /opt/anomstack/
# The folder is made here so that a named volume mounted on it starts out belonging to the user that runs Airflow.
RUN pip install --no-cache-dir --no-deps /opt/anomstack/*.whl \
    && mkdir -p -m 0775 "${AIRFLOW_HOME}/data"
